// Package process tells processes apart for longer than a pid lives: a pid together with its start time is never reused.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ID names one process of this machine until the next boot.
type ID struct {
	PID int `json:"pid"`
	// Start is the start time in clock ticks after boot, field 22 of /proc/PID/stat.
	Start uint64 `json:"start"`
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	state byte
	start uint64
}

// Of gives the ID of a process that runs now.
func Of(pid int) (ID, error) {
	s, err := readStat(pid)
	if err != nil {
		return ID{}, err
	}
	return ID{PID: pid, Start: s.start}, nil
}

// Alive reports whether it still runs; a zombie does not.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	s, err := readStat(id.PID)
	return err == nil && s.start == id.Start && s.state != 'Z' && s.state != 'X'
}

// Kill sends a signal if the process still is the one that was recorded. That it is gone already is no error.
func (id ID) Kill(signal unix.Signal) error {
	if id.PID <= 0 {
		return nil
	}
	// The descriptor is opened before the comparison, so that the pid cannot change hands in between.
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", id.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !id.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", id.PID, err)
	}
	return nil
}

// WaitGone returns whether the process ended within the time given.
func (id ID) WaitGone(limit time.Duration) bool {
	if id.PID <= 0 {
		return true
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer func() { _ = unix.Close(fd) }()
	for deadline := time.Now().Add(limit); id.Alive(); {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
	return true
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat skips the command name, which may itself contain spaces and parentheses.
func parseStat(text string) (stat, error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", text)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", text)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, err
	}
	return stat{state: fields[0][0], start: start}, nil
}
