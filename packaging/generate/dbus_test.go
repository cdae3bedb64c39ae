package main

import (
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestPageSaysEverything(t *testing.T) {
	t.Parallel()
	page, err := dbusPage("2026-01-02", "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	has := func(what, text string) {
		t.Helper()
		if !strings.Contains(page, text) {
			t.Errorf("%s: the page has no %q", what, text)
		}
	}
	has("head", `.TH TF.OURWORLD.HEROPROC1 5 "2026-01-02" "hero_proc 1.2.3"`)
	// item is a tag and the first sentence of its text; the others follow, a line each.
	item := func(what, tag, text string) {
		t.Helper()
		first, _, _ := strings.Cut(text, ". ")
		has(what, ".TP\n.B \""+tag+"\"\n"+troff(first))
	}
	documented := func(what, tag string, m member) {
		t.Helper()
		doc := find(m.Annotations, docString)
		if doc == "" {
			t.Errorf("%s %s has no documentation in the XML", what, m.Name)
		}
		item(what, tag, doc)
	}
	for _, o := range objects {
		interfaces, err := ownInterfaces(o.kind)
		if err != nil {
			t.Fatal(err)
		}
		if len(interfaces) == 0 {
			t.Errorf("%s have no interface", o.title)
		}
		for _, i := range interfaces {
			has("interface", "  interface "+i.Name+" {\n")
			for _, m := range i.Methods {
				documented(i.Name, m.Name+"()", m)
				for _, a := range m.Args {
					has(m.Name, a.Type+" "+a.Name)
				}
			}
			for _, m := range i.Signals {
				documented(i.Name, m.Name+"()", m)
			}
			for _, m := range i.Properties {
				documented(i.Name, m.Name, m)
				has(i.Name, " "+m.Type+" "+m.Name+";\n")
			}
		}
	}
	for _, s := range standard {
		item("standard interface", s.name, s.means)
	}
	for _, c := range units.Codes {
		item("error", c.DBus, c.Means)
	}
}

func TestTroff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "It is so", "It is so"},
		{"to be copied", "run -x", `run \-x`},
		{"a backslash", `a\b`, `a\eb`},
		{"a request", ".so /etc/passwd", `\&.so /etc/passwd`},
		{"another one", "'tis", `\&'tis`},
	} {
		if got := troff(tt.in); got != tt.want {
			t.Errorf("%s: %q is %q; want %q", tt.name, tt.in, got, tt.want)
		}
	}
	if got, want := quote(`say "so"`), `"say \(dqso\(dq"`; got != want {
		t.Errorf("quoted is %s; want %s", got, want)
	}
}
