package process

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStatWithHostileName(t *testing.T) {
	line := "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10"
	got, err := parseStat(line)
	if err != nil {
		t.Fatal(err)
	}
	if got.state != 'S' || got.start != 987654 {
		t.Fatalf("state %c, start %d", got.state, got.start)
	}
}

func TestAnotherProcessOfTheSamePidIsNotKilled(t *testing.T) {
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = command.Wait(); close(done) }()
	id, err := Of(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	former := ID{PID: id.PID, Start: id.Start - 1}
	if former.Alive() {
		t.Error("a former owner of the pid counts as alive")
	}
	if err := former.Kill(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if id.WaitGone(50 * time.Millisecond) {
		t.Fatal("the process is gone, though only a former owner of its pid was killed")
	}
	if err := id.Kill(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-done
	if !id.WaitGone(time.Second) || id.Alive() {
		t.Fatal("the process lives on")
	}
	if err := id.Kill(unix.SIGKILL); err != nil {
		t.Errorf("killing what is gone: %v", err)
	}
}

func TestOwnProcessIsAlive(t *testing.T) {
	id, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Fatal("this process does not count as alive")
	}
}
