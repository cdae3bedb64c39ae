package dbusapi

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
)

func explainService(ctx context.Context, c *call) ([]any, error) {
	id, err := c.service()
	if err != nil {
		return nil, err
	}
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	explanation, err := c.Explain(ctx, id)
	return []any{wire.Explanation.Encode(explanation)}, err
}

func listDependencies(ctx context.Context, c *call) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	list, err := c.Dependencies(ctx)
	return []any{wire.Dependency.EncodeAll(list)}, err
}

func analyzeBoot(ctx context.Context, c *call) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	analysis, err := c.AnalyzeBoot(ctx)
	return []any{wire.BootAnalysis.Encode(analysis)}, err
}
