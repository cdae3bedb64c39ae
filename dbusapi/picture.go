package dbusapi

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// picture is what the clients were told of, or are to be told of: the
// manager's object, the contexts, the services, and the jobs that are not over.
type picture map[dbus.ObjectPath]shown

// shown is one object of a picture. Of a service it has what a reading of all
// of them tells; the rest is annotated invalidates or false.
type shown struct {
	kind    wire.Kind
	service units.ID // of a service, and of a job
	// value is what its properties are made of: smaller, and most are never
	// asked for.
	value any
}

func (o shown) properties() map[string]dbus.Variant {
	switch v := o.value.(type) {
	case units.Status:
		return wire.Status.Encode(v)
	case units.Job:
		return wire.Job.Encode(v)
	case units.ContextStatus:
		return wire.Context.Encode(v)
	case units.Health:
		return wire.Health.Encode(v)
	}
	return nil
}

// objects are the services, their contexts, and the live jobs.
func objects(ctx context.Context, c Controller, services []units.Status) (picture, error) {
	jobs, err := c.LiveJobs(ctx)
	if err != nil {
		return nil, err
	}
	p := make(picture, len(services)+len(jobs)+1)
	for _, context := range contexts(services) {
		p[wire.ContextPath(context.Name)] = shown{wire.KindContext, units.ID{Context: context.Name}, context}
	}
	for _, s := range services {
		p[wire.ServicePath(s.ID)] = shown{wire.KindService, s.ID, s}
	}
	for _, j := range jobs {
		p[wire.JobPath(j.ID)] = showJob(j)
	}
	return p, nil
}

func showJob(j units.Job) shown { return shown{wire.KindJob, j.Service, j} }

// interfaces are an object's own interface with what is told of it unasked.
func (o shown) interfaces() map[string]map[string]dbus.Variant {
	iface, properties := ownInterface[o.kind], o.properties()
	told := map[string]dbus.Variant{}
	for name, how := range wire.Emissions(iface) {
		if how == wire.EmitsValue || how == wire.EmitsConst {
			told[name] = properties[name]
		}
	}
	return map[string]map[string]dbus.Variant{iface: told}
}

// signal is one to be sent.
type signal struct {
	path dbus.ObjectPath
	name string
	body []any
}

// signals are what tells those who know the picture before of the one after.
// The order is: what came, what changed, what went. Objects in touched may
// have changed in what no picture shows.
func signals(before, after picture, touched map[dbus.ObjectPath]bool) (all []signal) {
	// What is read of the object alone is stale once a job of it came, went,
	// or changed.
	stale := maps.Clone(touched)
	if stale == nil {
		stale = map[dbus.ObjectPath]bool{}
	}
	for path, o := range before {
		if o.kind == wire.KindJob && !reflect.DeepEqual(o, after[path]) {
			stale[wire.ServicePath(o.service)] = true
		}
	}
	for path, o := range after {
		if _, known := before[path]; o.kind == wire.KindJob && !known {
			stale[wire.ServicePath(o.service)] = true
		}
	}
	var changed, gone []signal
	for _, path := range after.sorted() {
		o := after[path]
		if old, known := before[path]; known || o.kind == wire.KindManager {
			changed = append(changed, changes(path, old, o, stale[path])...)
		} else {
			all = append(all, signal{wire.RootPath, wire.ObjectManagerInterface + ".InterfacesAdded", []any{path, o.interfaces()}})
		}
	}
	for _, path := range slices.Backward(before.sorted()) {
		if _, stays := after[path]; !stays {
			gone = append(gone, removed(path, before[path]))
		}
	}
	return slices.Concat(all, changed, gone)
}

func removed(path dbus.ObjectPath, o shown) signal {
	return signal{wire.RootPath, wire.ObjectManagerInterface + ".InterfacesRemoved", []any{path, []string{ownInterface[o.kind]}}}
}

// changes is the PropertiesChanged of one object, or nothing.
func changes(path dbus.ObjectPath, before, after shown, stale bool) []signal {
	if !stale && reflect.DeepEqual(before.value, after.value) {
		return nil
	}
	iface := ownInterface[after.kind]
	was, is := before.properties(), after.properties()
	changed, invalidated := map[string]dbus.Variant{}, []string{}
	for name, how := range wire.Emissions(iface) {
		same := reflect.DeepEqual(was[name], is[name])
		switch how {
		case wire.EmitsValue:
			if !same {
				changed[name] = is[name]
			}
		case wire.EmitsInvalidated:
			invalidated = append(invalidated, name)
			stale = stale || !same
		}
	}
	if len(changed) == 0 && (!stale || len(invalidated) == 0) {
		return nil
	}
	slices.Sort(invalidated)
	return []signal{{path, wire.PropertiesInterface + ".PropertiesChanged", []any{iface, changed, invalidated}}}
}

// sorted are the paths: the manager's, then those of contexts, services and jobs.
func (p picture) sorted() []dbus.ObjectPath {
	return slices.SortedFunc(maps.Keys(p), func(a, b dbus.ObjectPath) int {
		return cmp.Or(cmp.Compare(p[a].kind, p[b].kind), cmp.Compare(a, b))
	})
}
