package probe

import (
	"reflect"
	"testing"
)

func TestParseIdentity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, status string
		want         identity
		wrong        bool
	}{
		{"a user", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\nGroups:\t4 27 100 \n", identity{1000, 100, []int{4, 27, 100}}, false},
		{"without groups", "Uid:\t33\t33\t33\t33\nGid:\t33\t33\t33\t33\nGroups:\t \n", identity{33, 33, nil}, false},
		{"what counts is the effective one", "Uid:\t33\t0\t33\t33\nGid:\t33\t34\t33\t33\n", identity{0, 34, nil}, false},
		{"a name with a colon", "Name:\tUid:0\nUid:\t33\t33\t33\t33\nGid:\t33\t33\t33\t33\n", identity{33, 33, nil}, false},
		{"nothing", "", identity{}, true},
		{"no group", "Uid:\t33\t33\t33\t33\n", identity{}, true},
		{"too few numbers", "Uid:\t33\nGid:\t33\t33\t33\t33\n", identity{}, true},
		{"no number", "Uid:\ta\tb\tc\td\nGid:\t33\t33\t33\t33\n", identity{}, true},
	} {
		got, err := parseIdentity(tt.status)
		if (err != nil) != tt.wrong || err == nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}
