package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// ldd's lines: "libx.so.1 => /path/libx.so.1 (0x...)", and the loader alone: "/lib64/ld... (0x...)".
var lddLine = regexp.MustCompile(`(?m)^\s+(?:(\S+) => )?(/\S+) \(0x`)

func TestLibrariesAreThoseThatTheLoaderTakes(t *testing.T) {
	checked := 0
	for _, name := range []string{"ls", "tar", "git", "node", "python3"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if program, err = filepath.EvalSymlinks(program); err != nil {
			t.Fatal(err)
		}
		text, err := exec.Command("ldd", program).Output()
		if err != nil {
			continue // a script, or a static program
		}
		var want []string
		for _, match := range lddLine.FindAllStringSubmatch(string(text), -1) {
			want = append(want, filepath.Base(match[2]))
		}
		places, err := resolve([]string{program})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for destination, source := range places {
			got = append(got, filepath.Base(destination))
			if _, err := os.Stat(source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
		checked++
	}
	if checked == 0 {
		t.Fatal("no dynamically linked program to compare with")
	}
}

func TestMissingLibraryIsNamed(t *testing.T) {
	folder := t.TempDir()
	// A text file of the right name is no library.
	if err := os.WriteFile(filepath.Join(folder, "libnothing.so.1"), []byte("INPUT(other)"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := findLibrary("libnothing.so.1", &object{}, []string{folder})
	if err == nil || !regexp.MustCompile(`libnothing\.so\.1.*`+regexp.QuoteMeta(folder)).MatchString(err.Error()) {
		t.Fatalf("error: %v", err)
	}
}

func TestLoaderConfigurationFollowsIncludes(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) {
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("ld.so.conf", "include conf.d/*.conf # rest\n/opt/b\n")
	write("conf.d/a.conf", "# nothing\n/opt/a\ninclude "+folder+"/ld.so.conf\n")
	got := readLoaderConfiguration(filepath.Join(folder, "ld.so.conf"), 0)
	if len(got) < 2 || !slices.Contains(got, "/opt/a") || !slices.Contains(got, "/opt/b") {
		t.Fatalf("folders: %q", got)
	}
}

// The image of a dynamically linked program is tried as the container runtime would: with nothing around it.
func TestProgramRunsInsideItsImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	program, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	out, root := filepath.Join(t.TempDir(), "image.tar"), t.TempDir()
	if _, err := Write(out, Spec{Names: []string{"cat:1"}, Entrypoint: []string{"/cat"}, Programs: []Copy{{program, "/cat"}}}); err != nil {
		t.Fatal(err)
	}
	parts, _, _ := unpack(t, out)
	for name, content := range parts {
		if filepath.Base(name) == "layer.tar" {
			layer := filepath.Join(root, "layer.tar")
			if err := os.WriteFile(layer, content, 0o644); err != nil {
				t.Fatal(err)
			}
			if text, err := exec.Command("tar", "-xf", layer, "-C", root).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
	}
	text, err := exec.Command("chroot", root, "/cat", "/etc/nsswitch.conf").CombinedOutput()
	if err != nil || !regexp.MustCompile("hosts: files dns").Match(text) {
		t.Fatalf("%v: %s", err, text)
	}
}
