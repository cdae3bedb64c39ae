package dbusapi

import (
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// What polkit is asked about has to be what gets defined.
func TestTheServiceThatADefinitionDefines(t *testing.T) {
	t.Parallel()
	type dict = map[string]dbus.Variant
	v := dbus.MakeVariant
	for _, tt := range []struct {
		name string
		def  dict
		want units.ID // none: refused
	}{
		{name: "name alone", def: dict{"name": v("web")}, want: units.ID{Context: "core", Name: "web"}},
		{name: "context", def: dict{"name": v("web"), "context": v("lab")}, want: units.ID{Context: "lab", Name: "web"}},
		{name: "no name", def: dict{"context": v("lab")}},
		{name: "nothing", def: dict{}},
		{name: "empty name", def: dict{"name": v("")}},
		{name: "empty context", def: dict{"name": v("web"), "context": v("")}},
		{name: "name of another type", def: dict{"name": v(uint64(1))}},
		{name: "context of another type", def: dict{"name": v("web"), "context": v(true)}},
		{name: "name in a list", def: dict{"name": v([]string{"web"})}},
		{name: "name in a variant", def: dict{"name": v(v("web"))}},
		{name: "context in a variant", def: dict{"name": v("web"), "context": v(v("lab"))}},
		{name: "context that is a path", def: dict{"name": v("web"), "context": v(dbus.ObjectPath("/lab"))}},
		{name: "text for who is asked for a password", def: dict{"name": v("web\nand all is well")}},
		{name: "key in capitals", def: dict{"Name": v("web")}},
	} {
		got, err := definedBy(tt.def)
		if got != tt.want || (err != nil) != (tt.want == units.ID{}) {
			t.Errorf("%s: got %v, %v; want %v", tt.name, got, err, tt.want)
		}
		if err != nil {
			if units.CodeOf(err) != units.CodeInvalidDefinition {
				t.Errorf("%s: code is %s", tt.name, units.CodeOf(err))
			}
			continue
		}
		tt.def["status"] = v("spec")
		def, err := wire.DecodeDefinition(tt.def)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := units.DecodeService(def); err != nil || s.ID != got {
			t.Errorf("%s: polkit is asked about %v, and %v is defined (%v)", tt.name, got, s.ID, err)
		}
	}
}
