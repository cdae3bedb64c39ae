package units

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// constants are the values of all constants of a type, as they stand in the source.
func constants(t *testing.T, file, typ string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typ {
				values = append(values, strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			}
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constant of type %s", file, typ)
	}
	return values
}

func TestCodesAreTotalAndUnique(t *testing.T) {
	t.Parallel()
	busName := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$`)
	exits := []int{ExitFailed, ExitUsage, ExitNotActive, ExitNoSuchService}
	codes, names := map[Code]bool{}, map[string]bool{}
	for _, i := range Codes {
		if codes[i.Code] || names[i.DBus] {
			t.Errorf("%s or %s is there twice", i.Code, i.DBus)
		}
		codes[i.Code], names[i.DBus] = true, true
		if len(i.DBus) > 255 || !busName.MatchString(i.DBus) {
			t.Errorf("%s: %q is no error's name on D-Bus", i.Code, i.DBus)
		}
		if !slices.Contains(exits, i.Exit) {
			t.Errorf("%s: exit status %d is none of %v", i.Code, i.Exit, exits)
		}
		if !strings.HasSuffix(i.Means, ".") {
			t.Errorf("%s: %q is no sentence", i.Code, i.Means)
		}
		if i.Code.Info() != i {
			t.Errorf("%s.Info() is %+v", i.Code, i.Code.Info())
		}
	}
	declared := constants(t, "errors.go", "Code")
	for _, c := range declared {
		if !codes[Code(c)] {
			t.Errorf("%s has no row", c)
		}
	}
	if len(declared) != len(Codes) {
		t.Errorf("%d codes and %d rows", len(declared), len(Codes))
	}
	if got := Code("none").Info().Code; got != CodeInternal {
		t.Errorf("an unknown code is %s", got)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	err := Errorf(CodeStoreFailed, "cannot read the store: %w", io.ErrUnexpectedEOF).WithRemedy("fsck")
	if err.Error() != "cannot read the store: unexpected EOF" || err.Remedy != "fsck" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v", err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want Code
	}{
		{"none of ours", io.EOF, CodeInternal},
		{"one of ours", err, CodeStoreFailed},
		{"wrapped", fmt.Errorf("at boot: %w", err), CodeStoreFailed},
		{"the outer of two", Errorf(CodeTimeout, "gave up: %w", err), CodeTimeout},
		{"an unknown service", NoSuchService(ID{"core", "x"}), CodeNoSuchService},
	} {
		if got := CodeOf(tt.err); got != tt.want {
			t.Errorf("%s: code is %s, want %s", tt.name, got, tt.want)
		}
	}
	if got, want := NoSuchService(ID{"core", "x"}).Error(), `no service "core/x" is registered`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
