package cli

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// When the line that says what is awaited is first drawn, and how often then.
// What is done before is not worth a line.
const (
	patience = 400 * time.Millisecond
	redraw   = 500 * time.Millisecond
)

// eraseLine is back to the first column, and EL of ECMA-48.
const eraseLine = "\r\x1b[K"

// progress is one line at the bottom of a terminal that says what is awaited,
// and for how long already. It goes with the wait. Without a terminal, and for
// who wants JSON or quiet, there is none: its methods work, and draw nothing.
type progress struct {
	c       *call
	since   time.Time
	stopped context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	drawn  bool
	inside bool      // of a line that something else prints
	wrote  time.Time // when that printed last
}

// watch draws the line with what look answers, until stop is called. look is
// called in another goroutine, as often as the line is drawn anew; its context
// ends with the line, and "" is that there is nothing to say.
func (c *call) watch(ctx context.Context, look func(context.Context) string) *progress {
	ctx, cancel := context.WithCancel(ctx)
	p := &progress{c: c, since: time.Now(), stopped: cancel, done: make(chan struct{})}
	if !c.Redraw || c.Width == 0 || c.json || c.quiet {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		next := time.NewTimer(patience)
		defer next.Stop()
		for {
			select {
			case <-next.C:
			case <-ctx.Done():
				return
			}
			if text := look(ctx); ctx.Err() == nil {
				p.draw(text)
			}
			next.Reset(redraw)
		}
	}()
	return p
}

// output is out, for what is printed during the wait: the line gives way to it,
// and comes back once it is silent and at the beginning of a line.
func (p *progress) output(out io.Writer) io.Writer { return &beside{p, out} }

type beside struct {
	line *progress
	out  io.Writer
}

func (b *beside) Write(text []byte) (n int, err error) {
	if len(text) == 0 {
		return 0, nil
	}
	b.line.aside(func() {
		n, err = b.out.Write(text)
		b.line.inside, b.line.wrote = text[len(text)-1] != '\n', time.Now()
	})
	return n, err
}

// stop takes the line away.
func (p *progress) stop() {
	p.stopped()
	<-p.done
	p.aside(func() {})
}

// aside takes the line away while f prints something that is to stay.
func (p *progress) aside(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	f()
}

func (p *progress) draw(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if text == "" || p.inside || time.Since(p.wrote) < patience {
		return
	}
	text = fmt.Sprintf("(%s) %s", span(time.Since(p.since)), printable(text))
	// A line as wide as the terminal is, on some, already two.
	if most := p.c.Width - 1; utf8.RuneCountInString(text) > most {
		text = clip(text, max(most, 1))
	}
	fmt.Fprint(p.c.Stdout, text)
	p.drawn = true
}

func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(p.c.Stdout, eraseLine)
		p.drawn = false
	}
}
