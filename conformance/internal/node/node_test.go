package node

import "testing"

func TestInnermostPID(t *testing.T) {
	for status, want := range map[string]int{
		"Name:\ta\nNSpid:\t4711\t17\nNSsid:\t1\t1\n": 17,
		"NSpid:\t9\t8\t7\n":                          7,
		"NSpid:\t4711\n":                             0, // in the outermost namespace: not on any node
		"Name:\ta\n":                                 0,
	} {
		if got := innermostPID(status); got != want {
			t.Errorf("%q: %d, not %d", status, got, want)
		}
	}
}

func TestHidden(t *testing.T) {
	for path, want := range map[string]bool{"/run/x": true, "/var/run/x": true, "/var/log": true, "/var/lib/cnix": false, "/runner/x": false, "/home/x/build": false} {
		if _, hidden := Hidden(path); hidden != want {
			t.Errorf("%s: %t", path, hidden)
		}
	}
}
