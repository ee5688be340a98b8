package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// file writes a file with a mode and a time.
func file(t *testing.T, path, content string, mode os.FileMode, at time.Time) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode), os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
}

// folder is the same tree each time, written in another order and at another time.
func folder(t *testing.T, names []string, at time.Time) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		mode := os.FileMode(0o640)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o700
		}
		file(t, filepath.Join(root, name), "content of "+name, mode, at)
	}
	if err := os.Symlink("lib/b.sh", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	return root
}

func spec(root string) Spec {
	return Spec{
		Names: []string{"example.test/thing:1", "example.test/thing:2"}, Entrypoint: []string{"/app/lib/b.sh"}, Command: []string{"run"},
		Environment: []string{"PORT=80"}, User: DefaultUser, WorkingDirectory: "/app",
		Trees: []Copy{{root, "/app"}}, Exclude: []string{"tests", "lib/secret"},
	}
}

// unpack returns the parts of a docker-archive and the headers of its layer by name.
func unpack(t *testing.T, archive string) (parts map[string][]byte, layer map[string]*tar.Header, order []string) {
	t.Helper()
	read := func(from io.Reader, each func(*tar.Header, []byte)) {
		reader := tar.NewReader(from)
		for {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			each(header, content)
		}
	}
	text, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	parts, layer = map[string][]byte{}, map[string]*tar.Header{}
	read(bytes.NewReader(text), func(header *tar.Header, content []byte) { parts[header.Name] = content })
	for name, content := range parts {
		if strings.HasSuffix(name, "/layer.tar") {
			read(bytes.NewReader(content), func(header *tar.Header, _ []byte) {
				layer[header.Name] = header
				order = append(order, header.Name)
			})
		}
	}
	return parts, layer, order
}

func TestSameContentsGiveTheSameBytes(t *testing.T) {
	names := []string{"lib/b.sh", "a", "lib/a/deep", "z"}
	first := folder(t, names, time.Unix(1e9, 0))
	slices.Reverse(names)
	second := folder(t, names, time.Unix(1.1e9, 0))
	var images [][]byte
	for _, root := range []string{first, second} {
		out := filepath.Join(t.TempDir(), "image.tar")
		size, err := Write(out, spec(root))
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(out)
		if err != nil || int64(len(content)) != size {
			t.Fatalf("%d bytes, said to be %d: %v", len(content), size, err)
		}
		images = append(images, content)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Fatal("the archives differ")
	}
	file(t, filepath.Join(second, "a"), "other content", 0o640, time.Unix(1e9, 0))
	out := filepath.Join(t.TempDir(), "image.tar")
	if _, err := Write(out, spec(second)); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(out); bytes.Equal(content, images[0]) {
		t.Fatal("other contents give the same archive")
	}
}

func TestLayerAndConfiguration(t *testing.T) {
	root := folder(t, []string{"lib/b.sh", "lib/tests/left-out", "lib/secret", "kept/secret"}, time.Unix(1e9, 0))
	out := filepath.Join(t.TempDir(), "image.tar")
	if _, err := Write(out, spec(root)); err != nil {
		t.Fatal(err)
	}
	parts, layer, order := unpack(t, out)
	if !slices.IsSorted(order) {
		t.Errorf("entries are not sorted: %q", order)
	}
	for _, name := range []string{"app/lib/tests/", "app/lib/tests/left-out", "app/lib/secret"} {
		if layer[name] != nil {
			t.Errorf("%s is in the image though excluded", name)
		}
	}
	for name, mode := range map[string]int64{"app/lib/b.sh": 0o755, "app/kept/secret": 0o644, "tmp/": 0o1777, "etc/passwd": 0o644} {
		header := layer[name]
		if header == nil {
			t.Errorf("%s is missing", name)
		} else if header.Mode != mode || header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(epoch) {
			t.Errorf("%s: mode %o, owner %d:%d, time %s", name, header.Mode, header.Uid, header.Gid, header.ModTime)
		}
	}
	if link := layer["app/link"]; link == nil || link.Typeflag != tar.TypeSymlink || link.Linkname != "lib/b.sh" {
		t.Errorf("link: %+v", link)
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(parts["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest: %v", err)
	}
	if len(manifest[0].RepoTags) != 2 || parts[manifest[0].Layers[0]] == nil {
		t.Errorf("manifest: %+v", manifest[0])
	}
	var configuration struct {
		Config struct {
			Entrypoint, Cmd, Env []string
			User, WorkingDir     string
		}
	}
	if err := json.Unmarshal(parts[manifest[0].Config], &configuration); err != nil {
		t.Fatal(err)
	}
	if c := configuration.Config; c.User != "65532:65532" || c.WorkingDir != "/app" || c.Entrypoint[0] != "/app/lib/b.sh" || c.Cmd[0] != "run" || !slices.Contains(c.Env, "PORT=80") {
		t.Errorf("configuration: %+v", c)
	}
}

func TestRefusals(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	good := func() Spec { return spec(folder(t, []string{"a"}, time.Unix(1e9, 0))) }
	for what, change := range map[string]func(*Spec){
		"no entry point":  func(s *Spec) { s.Entrypoint = nil },
		"no tag":          func(s *Spec) { s.Names = []string{"localhost:5000/thing"} },
		"no such file":    func(s *Spec) { s.Files = []Copy{{"/nowhere/at/all", "/x"}} },
		"a folder":        func(s *Spec) { s.Files = []Copy{{"/etc", "/x"}} },
		"no program":      func(s *Spec) { s.Programs = []Copy{{"/etc/passwd", "/x"}} },
		"a broken filter": func(s *Spec) { s.Exclude = []string{"["} },
	} {
		s := good()
		change(&s)
		if _, err := Write(out, s); err == nil {
			t.Errorf("%s: no error", what)
		}
		if left, _ := filepath.Glob(filepath.Dir(out) + "/*"); len(left) > 0 {
			t.Fatalf("%s: left behind: %q", what, left)
		}
	}
}
