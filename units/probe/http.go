package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// maxBody is how much of a body is looked at, in bytes.
const maxBody = 1 << 20

// askHTTP sends a GET. Redirects are not followed, and no proxy is asked.
func askHTTP(ctx context.Context, q Question) Answer {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.URL, nil)
	if err != nil {
		return Answer{Never, "it can't be asked: " + Cause(err)}
	}
	request.Header.Set("User-Agent", "hero_proc_probe")
	client := http.Client{
		Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, q) },
			DisableKeepAlives: true,
			// The question is whether it answers. No secret is sent, and a
			// certificate for localhost is rarely one that others vouch for.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return unreachable(err)
	}
	defer response.Body.Close()
	var body []byte
	if q.Match != "" {
		if body, err = io.ReadAll(io.LimitReader(response.Body, maxBody)); err != nil {
			return unreachable(err)
		}
	}
	return judgeHTTP(q.Status, q.Match, response.StatusCode, string(body))
}

// judgeHTTP says what an answer means: 0 and "" are for any status that is
// well, and any body.
func judgeHTTP(wantStatus int, match string, status int, body string) Answer {
	says := strings.TrimSpace(fmt.Sprintf("status %d %s", status, http.StatusText(status)))
	switch {
	case wantStatus == 0 && (status < 200 || status > 399):
		return Answer{NotYet, says}
	case wantStatus != 0 && status != wantStatus:
		return Answer{NotYet, fmt.Sprintf("%s, and not %d", says, wantStatus)}
	case !strings.Contains(body, match):
		return Answer{NotYet, says + ", and a body without the text that it is to have"}
	default:
		return Answer{Ready, says}
	}
}
