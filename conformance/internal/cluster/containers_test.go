package cluster

import "testing"

func TestIsRunning(t *testing.T) {
	table := "TASK    PID     STATUS    \nab    14     RUNNING\ncd    15     STOPPED\n"
	for id, want := range map[string]bool{"ab": true, "cd": false, "a": false, "TASK": false} {
		if isRunning(table, id) != want {
			t.Errorf("%s: %t", id, !want)
		}
	}
}
