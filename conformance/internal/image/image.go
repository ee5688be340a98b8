// Package image makes container images from files of this machine: no engine, no base image, no registry.
//
// The result is a docker-archive (manifest.json, a configuration, one layer) and depends on contents alone: sorted
// entries, no times, no owners.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// DefaultUser is nobody that any machine knows: the restricted Pod Security level wants a number that is not 0.
const DefaultUser = "65532:65532"

const defaultPath = "PATH=/usr/local/bin:/usr/bin:/bin"

// Copy says which path of this machine becomes which path of the image.
type Copy struct {
	Source, Destination string
}

// Spec describes an image.
type Spec struct {
	Names                                []string
	Entrypoint, Command, Environment     []string
	User, WorkingDirectory               string
	Files, Trees, Programs, ProgramTrees []Copy
	// Exclude are patterns of path.Match, held against the base name and the path below the tree.
	Exclude []string
}

// Write makes the archive and returns its size in bytes. An archive that is there is replaced in one step.
func Write(path string, spec Spec) (size int64, err error) {
	if err := spec.check(); err != nil {
		return 0, err
	}
	content, err := collect(spec)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	temporary := fmt.Sprintf("%s.%d.new", path, os.Getpid())
	layer := temporary + ".layer"
	defer func() {
		_ = os.Remove(layer)
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	digest, err := writeLayer(layer, content)
	if err != nil {
		return 0, err
	}
	if err := writeArchive(temporary, spec, layer, digest); err != nil {
		return 0, err
	}
	info, err := os.Stat(temporary)
	if err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(temporary, path)
}

func (spec Spec) check() error {
	if len(spec.Entrypoint) == 0 {
		return errors.New("no entry point")
	}
	for _, name := range spec.Names {
		if tag := name[strings.LastIndexByte(name, '/')+1:]; !strings.Contains(tag, ":") {
			return fmt.Errorf("name %q has no tag", name)
		}
	}
	return nil
}

// writeLayer writes the files as a tar and returns its SHA-256, by which everything refers to it.
func writeLayer(path string, content tree) (string, error) {
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	err = errors.Join(content.write(io.MultiWriter(file, hash)), file.Close())
	return hex.EncodeToString(hash.Sum(nil)), err
}

func writeArchive(path string, spec Spec, layer, digest string) error {
	type object map[string]any
	configuration, err := json.Marshal(object{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": object{
			"Entrypoint": spec.Entrypoint, "Cmd": spec.Command, "User": spec.User, "WorkingDir": spec.WorkingDirectory,
			"Env": append([]string{defaultPath}, spec.Environment...),
		},
		"rootfs":  object{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
		"history": []object{{"created_by": "testcluster image"}},
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(configuration)
	configurationName, layerName := hex.EncodeToString(sum[:])+".json", digest+"/layer.tar"
	manifest, err := json.Marshal([]object{{"Config": configurationName, "RepoTags": spec.Names, "Layers": []string{layerName}}})
	if err != nil {
		return err
	}
	content, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(file)
	for _, part := range []struct {
		name string
		size int64
		from io.Reader
	}{
		{"manifest.json", int64(len(manifest)), bytes.NewReader(manifest)},
		{configurationName, int64(len(configuration)), bytes.NewReader(configuration)},
		{layerName, info.Size(), content},
	} {
		if err := archive.WriteHeader(&tar.Header{Name: part.name, Mode: 0o644, Size: part.size, ModTime: epoch}); err != nil {
			return errors.Join(err, file.Close())
		}
		if _, err := io.Copy(archive, part.from); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(archive.Close(), file.Close())
}
