package dbusapi_test

import (
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// logLevel is a log whose level is a word.
type logLevel struct {
	mu   sync.Mutex
	word string
}

func (l *logLevel) LogTarget() string { return "journal" }

func (l *logLevel) LogLevel() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.word
}

func (l *logLevel) SetLogLevel(word string) error {
	if word == "loud" {
		return units.Errorf(units.CodeInvalidArgument, "no such level")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.word = word
	return nil
}

func TestLogControl(t *testing.T) {
	t.Parallel()
	l := &logLevel{word: "info"}
	s := apitest.Start(t, func(o *dbusapi.Options) { o.LogControl = l })
	start(t, s)
	conn := s.Bus.Conn()
	var all dict
	if err := invoke(testContext(t), conn, wire.LogControlPath, wire.PropertiesInterface+".GetAll", wire.LogControlInterface).Store(&all); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"LogLevel": "info", "LogTarget": "journal", "SyslogIdentifier": "hero_proc"} {
		if all[name].Value() != want {
			t.Errorf("%s is %v; want %q", name, all[name], want)
		}
	}
	for _, tt := range []struct {
		name     string
		path     dbus.ObjectPath
		iface    string
		property string
		value    any
		want     string
	}{
		{name: "level", path: wire.LogControlPath, iface: wire.LogControlInterface, property: "LogLevel", value: "debug"},
		{name: "no level", path: wire.LogControlPath, iface: wire.LogControlInterface, property: "LogLevel", value: "loud", want: units.CodeInvalidArgument.Info().DBus},
		{name: "level of another type", path: wire.LogControlPath, iface: wire.LogControlInterface, property: "LogLevel", value: uint32(7), want: units.CodeInvalidArgument.Info().DBus},
		{name: "target", path: wire.LogControlPath, iface: wire.LogControlInterface, property: "LogTarget", value: "kmsg", want: wire.ErrPropertyReadOnly},
		{name: "unknown", path: wire.LogControlPath, iface: wire.LogControlInterface, property: "LogMood", value: "x", want: wire.ErrUnknownProperty},
		{name: "another interface", path: wire.LogControlPath, iface: wire.ManagerInterface, property: "LogLevel", value: "debug", want: wire.ErrUnknownInterface},
		{name: "of the manager", path: wire.RootPath, iface: wire.ManagerInterface, property: "Version", value: "9", want: wire.ErrPropertyReadOnly},
		{name: "level of the manager", path: wire.RootPath, iface: wire.ManagerInterface, property: "LogLevel", value: "debug", want: wire.ErrUnknownProperty},
		{name: "of a service", path: wire.ServicePath(web), iface: wire.ServiceInterface, property: "State", value: "running", want: wire.ErrPropertyReadOnly},
		{name: "of a context", path: wire.ContextPath("core"), iface: wire.ContextInterface, property: "Name", value: "x", want: wire.ErrPropertyReadOnly},
		{name: "of a job", path: wire.JobPath(1), iface: wire.JobInterface, property: "Phase", value: "failed", want: wire.ErrPropertyReadOnly},
	} {
		err := invoke(testContext(t), conn, tt.path, wire.PropertiesInterface+".Set", tt.iface, tt.property, dbus.MakeVariant(tt.value)).Err
		if got := errorName(err); got != tt.want {
			t.Errorf("%s: error is %q (%v); want %q", tt.name, got, err, tt.want)
		}
	}
	if got := l.LogLevel(); got != "debug" {
		t.Errorf("the level is %q; want debug", got)
	}
}

func TestADaemonWithoutLogControl(t *testing.T) {
	t.Parallel()
	conn := apitest.Start(t).Bus.Conn()
	err := invoke(testContext(t), conn, wire.LogControlPath, wire.PropertiesInterface+".Set", wire.LogControlInterface, "LogLevel", dbus.MakeVariant("debug")).Err
	if errorName(err) != units.CodeRefused.Info().DBus {
		t.Errorf("error is %v", err)
	}
}
