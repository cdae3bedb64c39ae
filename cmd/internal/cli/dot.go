package cli

import (
	"fmt"
	"io"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// dotColors are the colours of graphviz for those of the terminal.
var dotColors = map[color]string{red: "red", green: "darkgreen", yellow: "darkorange", plain: "gray40"}

// dotStyles tell the relations apart.
var dotStyles = map[units.Relation]string{units.RelationRequires: "solid", units.RelationWants: "dashed", units.RelationAfter: "dotted"}

// dot prints a digraph, where an arrow leads from a service to what it depends
// on: https://graphviz.org/doc/info/lang.html
func (f *forest) dot(w io.Writer, nodes []units.ID, edges []units.Dependency) {
	fmt.Fprintln(w, "digraph hero_proc {")
	fmt.Fprintln(w, "\trankdir=LR;")
	fmt.Fprintln(w, "\tnode [shape=box];")
	for _, id := range nodes {
		col := dotColors[stateColor(f.states[id])]
		if !f.registered(id) {
			col = dotColors[red]
		}
		fmt.Fprintf(w, "\t%s [label=%s, color=%s];\n", dotQuote(id.String()), dotQuote(id.String()+"\n"+f.word(id)), dotQuote(col))
	}
	for _, d := range edges {
		fmt.Fprintf(w, "\t%s -> %s [label=%s, style=%s];\n", dotQuote(d.Service.String()), dotQuote(d.On.String()), dotQuote(string(d.Relation)), dotQuote(dotStyles[d.Relation]))
	}
	fmt.Fprintln(w, "}")
}

// dotQuote is a text as a quoted ID. A backslash begins an escape only in a
// label, where two of them are one.
func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
