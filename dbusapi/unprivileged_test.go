package dbusapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// callerEnv makes the test binary a caller: its value is the bus's address.
const callerEnv = "HERO_PROC_TEST_CALL"

const nobody = 65534

func TestMain(m *testing.M) {
	if address := os.Getenv(callerEnv); address != "" {
		if err := callEverything(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// unlisted is a call that no row of the table stands for.
const unlisted = wire.ManagerInterface + ".Explode"

// byTheBus marks the errors of the bus, which have the names of the daemon's.
const byTheBus = " by the bus"

// callEverything calls every method of the table once, and an unlisted one,
// and prints the names of the errors.
func callEverything(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), apitest.Deadline)
	defer cancel()
	conn, err := wire.Dial(ctx, address, wire.MaxMessage)
	if err != nil {
		return err
	}
	defer conn.Close()
	got := map[string]string{}
	call := func(path dbus.ObjectPath, method string, args ...any) {
		err := invoke(ctx, conn, path, method, args...).Err
		got[method] = errorName(err)
		if err != nil && strings.Contains(err.Error(), "Rejected send message") {
			got[method] += byTheBus
		}
	}
	for _, row := range dbusapi.Rows() {
		path, args := sample(row)
		call(path, row.Interface+"."+row.Member, args...)
	}
	call(wire.RootPath, unlisted)
	return json.NewEncoder(os.Stdout).Encode(got)
}

// callAsNobody runs callEverything as a user who is not root.
func callAsNobody(t *testing.T, address string) map[string]string {
	t.Helper()
	// The binary's own directory may be closed to that user; this link is not.
	cmd := exec.CommandContext(testContext(t), "/proc/self/exe")
	cmd.Env = []string{callerEnv + "=" + address}
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the caller ended with %v: %s", err, stderr.String())
	}
	var got map[string]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// open lets other users reach a bus: its directory is closed to them.
func open(t *testing.T, address string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(strings.TrimPrefix(address, "unix:path=")), 0o711); err != nil {
		t.Fatal(err)
	}
}

// checkRefusals checks that the daemon has refused every change, and that the
// unlisted call has ended as it should.
func checkRefusals(t *testing.T, got map[string]string, wantUnlisted string) {
	t.Helper()
	if got[unlisted] != wantUnlisted {
		t.Errorf("%s: error is %q; want %q", unlisted, got[unlisted], wantUnlisted)
	}
	for _, row := range dbusapi.Rows() {
		name, want := row.Interface+"."+row.Member, ""
		if row.Changes {
			want = units.CodeAccessDenied.Info().DBus
		}
		if got[name] != want {
			t.Errorf("%s: error is %q; want %q", name, got[name], want)
		}
	}
}

// prepare makes every reading call of the sample succeed at once.
func prepare(t *testing.T, c *apitest.Controller) {
	t.Helper()
	ctx := context.Background()
	if err := c.Set(ctx, definition(web.Name), false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(ctx, web); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stop(ctx, web); err != nil {
		t.Fatal(err)
	}
}

// The bus lets everything through, and the daemon asks it who calls.
func TestTheDaemonRefusesARealUser(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, func(o *dbusapi.Options) { o.UID = nil })
	prepare(t, s.Controller)
	open(t, s.Address)
	checkRefusals(t, callAsNobody(t, s.Address), wire.ErrUnknownMethod)
}

// busConfig is the system bus's own policy, shortened: /usr/share/dbus-1/system.conf.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>%s</include>
</busconfig>
`

// With the policy that is installed the bus lets through what is in the table,
// for the daemon to refuse, and nothing else.
func TestTheBusKnowsTheTable(t *testing.T) {
	t.Parallel()
	// Its bus gets another configuration, below. Whoever runs the test counts as root.
	s := apitest.Start(t, func(o *dbusapi.Options) {
		o.UID = func(ctx context.Context, conn *dbus.Conn, sender string) (uid uint32, err error) {
			err = conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixUser", 0, sender).Store(&uid)
			if uid == uint32(os.Getuid()) {
				uid = 0
			}
			return uid, err
		}
	})
	dir := filepath.Dir(strings.TrimPrefix(s.Address, "unix:path="))
	policy, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever runs the test stands in for root.
	policy = bytes.ReplaceAll(policy, []byte(`user="root"`), []byte(`user="`+strconv.Itoa(os.Getuid())+`"`))
	included := filepath.Join(dir, "policy.conf")
	if err := os.WriteFile(included, policy, 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(busConfig, strings.TrimPrefix(s.Address, "unix:path="), included)
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Bus.Restart()
	prepare(t, s.Controller)
	open(t, s.Address)
	root := awaitName(t, s)
	if os.Getuid() == 0 {
		checkRefusals(t, callAsNobody(t, s.Address), units.CodeAccessDenied.Info().DBus+byTheBus)
	}
	def, err := wire.EncodeDefinition(map[string]any{"name": "spec", "status": "spec"})
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke(testContext(t), root, wire.RootPath, wire.ManagerInterface+".SetService", def, uint64(0)).Err; err != nil {
		t.Errorf("root may not call SetService: %v", err)
	}
	reply, err := root.RequestName("tf.ourworld.Other", dbus.NameFlagDoNotQueue)
	if err == nil {
		t.Errorf("the bus gives away any name (%v): the test shows nothing", reply)
	}
}
