package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// stateDirectory holds one record per cluster of this machine, whichever copy of the project started it, and the locks.
// It lies in /run because a restart of the machine ends all clusters.
const stateDirectory = "/run/agw-testcluster"

// validName keeps what is derived from it valid: a node name, a folder, a cgroup, the path of a socket (at most 107 bytes).
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// CheckName says what is wrong with a cluster's name.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("cluster name %q: at most 32 lower case letters, digits and inner dashes", name)
	}
	return nil
}

// hostLock guards what all clusters of the machine share, clusterLock one cluster's record and processes. Whoever needs
// both takes the cluster's first.
func hostLock() string { return filepath.Join(stateDirectory, "host.lock") }

func clusterLock(name string) string { return filepath.Join(stateDirectory, "cluster-"+name+".lock") }

// lock takes an exclusive lock on a file and returns how to let it go.
func lock(path string) (unlock func(), err error) {
	for {
		if err := os.MkdirAll(stateDirectory, 0o755); err != nil {
			return nil, err
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // the directory went between the two calls
		}
		if err != nil {
			return nil, err
		}
		if err := flock(file); err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		// Whoever removed the last cluster removed the file too: a lock on a file without a name excludes nobody.
		locked, err := file.Stat()
		named, nameErr := os.Stat(path)
		if err == nil && nameErr == nil && os.SameFile(locked, named) {
			return func() { _ = file.Close() }, nil
		}
		_ = file.Close()
	}
}

func flock(file *os.File) error {
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
