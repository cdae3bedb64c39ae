package wire

import (
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Dependency is a row of ListDependencies.
var Dependency = Table[units.Dependency]{
	text("Context", func(d *units.Dependency) *string { return &d.Service.Context }),
	text("Service", func(d *units.Dependency) *string { return &d.Service.Name }),
	text("Relation", func(d *units.Dependency) *units.Relation { return &d.Relation }),
	text("OnContext", func(d *units.Dependency) *string { return &d.On.Context }),
	text("OnService", func(d *units.Dependency) *string { return &d.On.Name }),
}

// Link is a link of [Explanation].
var Link = Table[units.Link]{
	number[units.Link, int, uint32]("Depth", func(l *units.Link) *int { return &l.Depth }),
	text("Relation", func(l *units.Link) *units.Relation { return &l.Relation }),
	text("Context", func(l *units.Link) *string { return &l.Context }),
	text("Service", func(l *units.Link) *string { return &l.Name }),
	text("Action", func(l *units.Link) *string { return &l.Action }),
	text("Unit", func(l *units.Link) *string { return &l.Unit }),
	text("State", func(l *units.Link) *units.State { return &l.State }),
	text("What", func(l *units.Link) *string { return &l.What }),
	text("Why", func(l *units.Link) *string { return &l.Why }),
	text("Remedy", func(l *units.Link) *string { return &l.Remedy }),
	moment("Since", func(l *units.Link) *time.Time { return &l.Since }),
	text("InvocationID", func(l *units.Link) *string { return &l.InvocationID }),
	plain("Root", func(l *units.Link) *bool { return &l.Root }),
}

// Explanation is the answer of ExplainService.
var Explanation = Table[units.Explanation]{
	text("Context", func(e *units.Explanation) *string { return &e.Context }),
	text("Service", func(e *units.Explanation) *string { return &e.Name }),
	text("State", func(e *units.Explanation) *units.State { return &e.State }),
	rows("Links", Link, func(e *units.Explanation) *[]units.Link { return &e.Links }),
	number[units.Explanation, int, uint32]("More", func(e *units.Explanation) *int { return &e.More }),
	rows("Events", LogEntry, func(e *units.Explanation) *[]units.LogEntry { return &e.Events }),
	text("Remedy", func(e *units.Explanation) *string { return &e.Remedy }),
}

// BootUnit is a unit of [BootAnalysis].
var BootUnit = Table[units.BootUnit]{
	text("Context", func(u *units.BootUnit) *string { return &u.Service.Context }),
	text("Service", func(u *units.BootUnit) *string { return &u.Service.Name }),
	text("Action", func(u *units.BootUnit) *string { return &u.Action }),
	text("Unit", func(u *units.BootUnit) *string { return &u.Unit }),
	text("Phase", func(u *units.BootUnit) *units.Phase { return &u.Phase }),
	number[units.BootUnit, int, uint32]("Attempts", func(u *units.BootUnit) *int { return &u.Attempts }),
	moment("Began", func(u *units.BootUnit) *time.Time { return &u.Began }),
	moment("Ready", func(u *units.BootUnit) *time.Time { return &u.Ready }),
	moment("Ended", func(u *units.BootUnit) *time.Time { return &u.Ended }),
	text("WaitedFor", func(u *units.BootUnit) *string { return &u.WaitedFor }),
	plain("Critical", func(u *units.BootUnit) *bool { return &u.Critical }),
}

// BootAnalysis is the answer of AnalyzeBoot.
var BootAnalysis = Table[units.BootAnalysis]{
	moment("Booted", func(a *units.BootAnalysis) *time.Time { return &a.Booted }),
	rows("Units", BootUnit, func(a *units.BootAnalysis) *[]units.BootUnit { return &a.Units }),
}
