package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestReorder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"flags after the name", "service start web --no-wait", "service start --no-wait -- web"},
		{"flags before the name", "service start --no-wait web", "service start --no-wait -- web"},
		{"a value stays with its flag", "service start web --timeout 5s worker", "service start --timeout 5s -- web worker"},
		{"a value behind =", "service start web --timeout=5s worker", "service start --timeout=5s -- web worker"},
		{"a short flag", "log query -n 5", "log query -n 5"},
		{"one dash is a flag too", "service start web -no-wait", "service start -no-wait -- web"},
		{"a global flag at the end", "service list --json", "--json service list"},
		{"a command's own flag wins", "service set --user me web", "service set --user me -- web"},
		{"a value that looks like a flag", "service set web --exec --now", "service set --exec --now -- web"},
		{"a value that looks like a command", "service set --description start web", "service set --description start -- web"},
		{"what follows -- is a name", "service start -- --no-wait -x", "service start -- --no-wait -x"},
		{"a name that is a command", "service start service", "service start -- service"},
		{"a name that is a flag's", "service start now no-wait", "service start -- now no-wait"},
		{"a name that is help", "service start help", "service start -- help"},
		{"a lone dash", "service set --file -", "service set --file -"},
		{"a flag without its value", "service start web --timeout", "service start --timeout"},
		{"an unknown flag", "service start web --bogus", "service start --bogus -- web"},
		{"an unknown global flag", "--bogus service list", "--bogus service list"},
		{"an unknown command", "service bogus --json", "--json service -- bogus"},
		{"help", "help", "--help"},
		{"help of a command", "help service set", "service set --help"},
		{"help of a group", "service help", "service --help"},
		{"--help anywhere", "service set web --help --exec x", "service set --help"},
		{"-h", "service -h", "service --help"},
		{"help of an unknown command", "help service bogus", "service -- bogus"},
		{"nothing", "", ""},
	} {
		got := strings.Join(reorder((&call{}).app(), strings.Fields(tt.in)), " ")
		if got != tt.want {
			t.Errorf("%s: %q becomes %q; want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	m := populated(t)
	for _, tt := range []struct {
		name  string
		words []string // the last one is to be completed
		want  string   // the candidates without what they mean
	}{
		{"a command", []string{"se"}, "service"},
		{"a subcommand", []string{"service", "st"}, "status start stop"},
		{"no hidden one", []string{"ma"}, ""},
		{"names", []string{"service", "start", ""}, "hero_db lab/probe template web worker"},
		{"names by their beginning", []string{"service", "status", "w"}, "web worker"},
		{"another name where several may stand", []string{"service", "start", "web", "wo"}, "worker"},
		{"no other name where one stands", []string{"service", "status", "web", ""}, ""},
		{"flags", []string{"service", "start", "--"}, "--context --no-wait --quiet --timeout --help --json --host"},
		{"global flags", []string{"--"}, "--json --host --help"},
		{"the values of a flag", []string{"log", "query", "--level", "w"}, "warning"},
		{"phases", []string{"job", "list", "--phase", "l"}, "lost"},
		{"values that are names", []string{"service", "set", "x", "--requires", "he"}, "hero_db"},
		{"any value", []string{"service", "set", "x", "--exec", ""}, ""},
		{"behind a flag with its value", []string{"service", "start", "--timeout", "5s", "wor"}, "worker"},
		{"services whose action to run", []string{"run", "@w"}, "@web @worker"},
		{"properties of a run", []string{"run", "--property", "mem"}, "memory_max="},
		{"nothing at all", nil, ""},
	} {
		r := run(t, m.address, how{}, append([]string{completeCommand}, tt.words...)...)
		var got []string
		for line := range strings.Lines(r.stdout) {
			got = append(got, strings.Split(strings.TrimSpace(line), "\t")[0])
		}
		if strings.Join(got, " ") != tt.want || r.exit != 0 || r.stderr != "" {
			t.Errorf("%s: candidates are %v, %+v; want %s", tt.name, got, r, tt.want)
		}
	}
}

// The script is run by a real bash, with a program in the place of hero_proc
// that shows what it was asked.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := "#!/bin/sh\nprintf 'asked:%s\\twith a meaning\\n' \"$*\"\nprintf 'two words\\n'\n"
	if err := os.WriteFile(filepath.Join(dir, "hero_proc"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "--norc", "-c", completionScripts["bash"]+
		`COMP_WORDS=(hero_proc service status "" behind); COMP_CWORD=3; _hero_proc; printf '<%s>' "${COMPREPLY[@]}"; complete -p hero_proc`)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	want := "<asked:__complete service status ><two words>complete -o default -F _hero_proc hero_proc\n"
	if err != nil || string(out) != want {
		t.Errorf("bash prints %q, error %v; want %q", out, err, want)
	}
}
