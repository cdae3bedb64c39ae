package authz_test

import (
	"encoding/xml"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
)

const (
	policyFile  = "../../packaging/polkit/tf.ourworld.heroproc1.policy"
	exampleFile = "../../packaging/polkit/50-hero_proc-example.rules"
)

// defaults are what polkit grants without a rule: polkit(8), "Declaring actions".
type defaults struct {
	Any      string `xml:"allow_any"`
	Inactive string `xml:"allow_inactive"`
	Active   string `xml:"allow_active"`
}

// The installed policy has each action that is asked for, no other, and
// grants nothing by itself.
func TestPolicyFileIsTheTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Vendor  string `xml:"vendor"`
		Actions []struct {
			ID          string   `xml:"id,attr"`
			Description string   `xml:"description"`
			Message     string   `xml:"message"`
			Defaults    defaults `xml:"defaults"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	want := map[string]defaults{}
	for _, action := range authz.Actions {
		// Each time anew: what polkit keeps is the action, without the details.
		want[action] = defaults{"auth_admin", "auth_admin", "auth_admin"}
	}
	got := map[string]defaults{}
	variable := regexp.MustCompile(`\$\([^)]*\)`)
	for _, a := range policy.Actions {
		got[a.ID] = a.Defaults
		if a.Description == "" || !strings.HasSuffix(a.Message, ".") {
			t.Errorf("%s: description is %q, message %q", a.ID, a.Description, a.Message)
		}
		for _, v := range variable.FindAllString(a.Message, -1) {
			if v != "$(context)" && v != "$(service)" && v != "$(runs)" {
				t.Errorf("%s: the message has %s, which is no detail of the question", a.ID, v)
			}
		}
	}
	if !maps.Equal(got, want) || len(policy.Actions) != len(want) {
		t.Errorf("the policy has\n%v; want\n%v", got, want)
	}
	if policy.Vendor == "" {
		t.Error("the policy names no vendor")
	}
}

// The example names actions and details that there are. What it grants is
// shown with the real polkit.
func TestExampleRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	actions := slices.Collect(maps.Values(authz.Actions))
	for _, action := range regexp.MustCompile(`action\.id == "([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(actions, action[1]) {
			t.Errorf("there is no action %s", action[1])
		}
	}
	details := regexp.MustCompile(`action\.lookup\("([^"]*)"\)`).FindAllStringSubmatch(string(text), -1)
	for _, detail := range details {
		if detail[1] != "context" && detail[1] != "service" && detail[1] != "runs" {
			t.Errorf("there is no detail %s", detail[1])
		}
	}
	if len(details) == 0 {
		t.Error("the example looks up no detail")
	}
}
