package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// runtimeNamespace is where the kubelet looks for images.
const runtimeNamespace = "k8s.io"

// Load imports image archives, unless this very archive is loaded already. It returns the names of the images.
func (c *Cluster) Load(ctx context.Context, archives ...string) ([]string, error) {
	unlock, err := lock(clusterLock(c.Name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Another process may have loaded something while this one waited.
	if c, err = Open(c.Name); err != nil {
		return nil, err
	}
	if !c.Components["containerd"].Alive() {
		return nil, fmt.Errorf("cluster %s has no container runtime: %s", c.Name, c.State())
	}
	var all []string
	for _, archive := range archives {
		names, err := c.loadArchive(ctx, archive)
		if err != nil {
			return all, fmt.Errorf("%s: %w", archive, err)
		}
		all = append(all, names...)
	}
	return all, nil
}

// ImageNames lists what containers can be made of.
func (c *Cluster) ImageNames(ctx context.Context) ([]string, error) {
	text, err := c.ctr(ctx, "images", "ls", "-q")
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(strings.Fields(text), func(name string) bool { return strings.HasPrefix(name, "sha256:") })
	slices.Sort(names)
	return names, nil
}

func (c *Cluster) loadArchive(ctx context.Context, archive string) ([]string, error) {
	digest, err := fileDigest(archive)
	if err != nil {
		return nil, err
	}
	if names, ok := c.Images[digest]; ok {
		return strings.Fields(names), nil
	}
	text, err := c.ctr(ctx, "images", "import", archive)
	if err != nil {
		return nil, err
	}
	// One line per image: "unpacking NAME (sha256:...)...done".
	var names []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "unpacking" {
			names = append(names, fields[1])
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no image in it: %s", strings.TrimSpace(text))
	}
	// A tag belongs to the archive that was loaded last.
	for other, tags := range c.Images {
		if slices.ContainsFunc(strings.Fields(tags), func(tag string) bool { return slices.Contains(names, tag) }) {
			delete(c.Images, other)
		}
	}
	c.Images[digest] = strings.Join(names, " ")
	return names, c.save()
}

// ctr calls containerd's client on the cluster's runtime.
func (c *Cluster) ctr(ctx context.Context, arguments ...string) (string, error) {
	arguments = append([]string{"--address", c.runtimeSocket(), "--namespace", runtimeNamespace}, arguments...)
	text, err := exec.CommandContext(ctx, "ctr", arguments...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(arguments[4:], " "), err, strings.TrimSpace(string(text)))
	}
	return string(text), nil
}

func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
