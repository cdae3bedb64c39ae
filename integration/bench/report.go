package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// report is all that is measured, and where.
type report struct {
	place
	// Load is the host's load average over five minutes before it began: on a
	// machine with other work, figures tell less.
	Load float64 `json:"load_before"`
	Rows []row   `json:"rows"`
}

// place is where and how it is measured: what the results of two runs have in
// common that go together.
type place struct {
	CPUs     int    `json:"cpus"`
	CPU      string `json:"cpu"`
	MemoryMB int    `json:"memory_mb"`
	System   string `json:"system"`
	Version  string `json:"version"` // of the package
	Runs     int    `json:"runs"`
}

// row is one figure: what was measured, and the way it was done.
type row struct {
	Part string `json:"part"`
	What string `json:"what"`
	Way  string `json:"way"`
	Unit string `json:"unit"`
	// Aim is what is wanted, in words; "" is nothing in particular.
	Aim    string    `json:"aim,omitempty"`
	Met    *bool     `json:"met,omitempty"` // whether it is so
	Median float64   `json:"median"`
	Values []float64 `json:"values"` // in the order of the runs
	// Ratio is the median of what each run has it beside the best of what
	// systemd itself has in the same run; 0 is nothing to compare it with.
	Ratio float64 `json:"ratio,omitempty"`
}

// ours is the way of everything that hero_proc does.
const ours = "hero_proc"

// aim is what a figure is to be below. The zero value is nothing in particular.
type aim struct {
	limit float64
	ratio bool // it is the ratio that is meant, which compare adds
}

func below(limit float64) aim      { return aim{limit: limit} }
func ratioBelow(limit float64) aim { return aim{limit, true} }

func (a aim) text(unit string) string {
	text := "< " + strconv.FormatFloat(a.limit, 'f', -1, 64)
	switch {
	case a == aim{}:
		return ""
	case a.ratio:
		return "ratio " + text
	default:
		return strings.TrimSpace(text + " " + unit)
	}
}

// add adds a row.
func (b *bench) add(part, what, way, unit string, a aim, values ...float64) {
	r := row{Part: part, What: what, Way: way, Unit: unit, Aim: a.text(unit), Median: median(values), Values: values}
	if a.limit > 0 && !a.ratio {
		met := r.Median < a.limit
		r.Met = &met
	}
	b.rows = append(b.rows, r)
	fmt.Fprintf(os.Stderr, "  %s, %s: %s\n", r.What, r.Way, r.figure())
}

func median(xs []float64) float64 {
	sorted := slices.Sorted(slices.Values(xs))
	return sorted[len(sorted)/2]
}

// compare gives the rows of one figure their ratios to the best of those ways;
// ours is to have one that the aim allows.
func compare(rows []row, a aim, ways ...string) {
	for i := range rows {
		var ratios []float64
		for run, v := range rows[i].Values {
			best := 0.0
			for _, other := range rows {
				if slices.Contains(ways, other.Way) && run < len(other.Values) && (best == 0 || other.Values[run] < best) {
					best = other.Values[run]
				}
			}
			if best > 0 {
				ratios = append(ratios, v/best)
			}
		}
		if len(ratios) > 0 {
			rows[i].Ratio = median(ratios)
		}
		if rows[i].Way == ours && a.ratio {
			met := rows[i].Ratio < a.limit
			rows[i].Met = &met
		}
	}
}

// number has three digits that count.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

func (r row) figure() string { return number(r.Median) + " " + r.Unit }

func (r row) spread() string {
	if len(r.Values) < 2 {
		return ""
	}
	return number(slices.Min(r.Values)) + "–" + number(slices.Max(r.Values))
}

func (r row) ratio() string {
	if r.Ratio == 0 {
		return ""
	}
	return strconv.FormatFloat(r.Ratio, 'f', 2, 64)
}

func (r row) met() string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return "yes"
	default:
		return "no"
	}
}

var columns = []string{"what", "way", "median", "range", "ratio", "aim", "met"}

func (r row) cells() []string {
	return []string{r.What, r.Way, r.figure(), r.spread(), r.ratio(), r.Aim, r.met()}
}

func (r report) header() string {
	return fmt.Sprintf("%d CPUs (%s), %d MB, %s; load average before: %.2f\nhero_proc %s; medians of %d runs where there is a range; the ratio is that to the best way that systemd itself has",
		r.CPUs, r.CPU, r.MemoryMB, r.System, r.Load, r.Version, r.Runs)
}

func (r report) table(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n", r.header())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(columns, "\t")))
	for _, row := range r.Rows {
		fmt.Fprintln(t, strings.Join(row.cells(), "\t"))
	}
	t.Flush()
	fmt.Fprintln(w)
}

func (r report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s.\n\n", strings.ReplaceAll(r.header(), "\n", ". "))
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, row := range r.Rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row.cells(), " | "))
	}
}

func (r report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// hardware is the model of the CPU and the size of the memory: proc(5).
func hardware() (cpu string, memoryMB int) {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
			break
		}
	}
	info, _ = os.ReadFile("/proc/meminfo")
	kB := 0
	_, _ = fmt.Sscanf(string(info), "MemTotal: %d kB", &kB)
	return cmp.Or(cpu, "unknown"), kB / 1024
}

// load is the load average over five minutes: proc(5).
func load() (five float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscanf(string(text), "%f %f", new(float64), &five)
	return five
}
