package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// commandRuns is how often a command is run for each of the runs.
const commandRuns = 10

// commands are commands as whole processes, from their start to their end.
func commands(ctx context.Context, b *bench) error {
	if err := b.running(ctx, b.services); err != nil {
		return err
	}
	of := fmt.Sprintf(" of %d services", b.services)
	for _, args := range [][]string{
		{"service", "list"},
		{"--json", "service", "list"},
		{"service", "status", serviceName(0)},
	} {
		if err := b.command(ctx, "cli", of, args...); err != nil {
			return err
		}
	}
	return b.clear(ctx)
}

// command adds how long a hero_proc command takes.
func (b *bench) command(ctx context.Context, part, where string, args ...string) error {
	var took []float64
	for range b.runs {
		begun := time.Now()
		for range commandRuns {
			if err := run(ctx, "hero_proc", args...); err != nil {
				return err
			}
		}
		took = append(took, since(begun)/commandRuns)
	}
	b.add(part, "hero_proc "+strings.Join(args, " ")+where, ours, "ms", aim{}, took...)
	return nil
}
