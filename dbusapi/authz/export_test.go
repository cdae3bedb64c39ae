package authz

import "time"

// Bounds, for the tests outside of the package.
const (
	MaxOfUser = maxOfUser
	MaxOfAll  = maxOfAll
)

// Hurry shortens both deadlines.
func (p *Polkit) Hurry(d time.Duration) { p.patience, p.interactivePatience = d, d }

// Open is how many questions polkit has not answered.
func (p *Polkit) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}
