// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// look searches for a file of the host by every way that once led there; near
// leaves out those that an app with the host's /proc has anyway.
func look(args []string) error {
	if len(args) == 0 {
		return errors.New("want the path of the canary")
	}
	canary := args[0]
	buf := make([]byte, 4096)
	if n, err := unix.Getcwd(buf); err != nil {
		refused("cwd", err)
	} else if dir := string(buf[:n-1]); !strings.HasPrefix(dir, "/") {
		escaped("cwd", "the working directory is outside of the root: %s", dir)
	}
	// one way of a kind is told
	found := func(ways ...string) {
		for _, p := range ways {
			// not cleaned: the dots count
			if text, err := os.ReadFile(p + "/file"); err == nil && string(text) == "canary\n" {
				escaped("canary", "%s", p)
				return
			}
		}
	}
	var ups, descriptors []string
	for n := range 40 {
		ups = append(ups, strings.Repeat("../", n)+"."+canary)
	}
	found(canary)
	found(ups...)
	if len(args) > 1 && args[1] == "near" {
		done()
		return nil
	}
	up := "/./" + strings.Repeat("../", 20) + canary
	for fd := range 256 {
		descriptors = append(descriptors, "/proc/self/fd/"+strconv.Itoa(fd)+canary, "/proc/self/fd/"+strconv.Itoa(fd)+up)
	}
	found(descriptors...)
	for _, pattern := range []string{"/proc/[0-9]*/root", "/proc/[0-9]*/cwd", "/proc/[0-9]*/fd/*"} {
		all, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		var ways []string
		for _, p := range all {
			ways = append(ways, p+canary, p+up)
		}
		found(ways...)
	}
	refused("canary", errors.New("not found"))
	done()
	return nil
}

// scribble writes to all places that rkt puts something into, below the app's
// own root: a link in the image may lead elsewhere.
func scribble() error {
	for _, p := range strings.Split(os.Getenv("SCRIBBLE"), ":") {
		if err := os.WriteFile(filepath.Join(p, "attacker-was-here"), []byte("attacker\n"), 0o666); err != nil {
			refused("file in "+p, err)
		}
		fd, err := unix.Open(p, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			refused("write to "+p, err)
			continue
		}
		_, _ = unix.Write(fd, []byte("attacker\n"))
		_ = unix.Close(fd)
	}
	done()
	return nil
}

// facts are what a process is. Strings are in hexadecimal: they may hold
// anything.
type facts struct {
	Args, Env  []string
	Dir        string
	Groups     []int
	FDs        []string
	Status     map[string]string
	Cgroup     string
	Namespaces map[string]string
	Hostname   string
	OOM        string
	Label      string
	Session    int
	Limits     string
}

func report() error {
	f := facts{Status: map[string]string{}, Namespaces: map[string]string{}, FDs: []string{}}
	for _, a := range os.Args {
		f.Args = append(f.Args, hex.EncodeToString([]byte(a)))
	}
	for _, e := range os.Environ() {
		f.Env = append(f.Env, hex.EncodeToString([]byte(e)))
	}
	buf := make([]byte, 8192)
	n, err := unix.Getcwd(buf)
	if err != nil {
		return err
	}
	f.Dir = hex.EncodeToString(buf[:n-1])
	f.Groups, _ = os.Getgroups()
	f.FDs = openDescriptors()
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			f.Status[k] = strings.Join(strings.Fields(v), " ")
		}
	}
	for _, ns := range []string{"mnt", "net", "ipc", "uts", "pid", "user", "cgroup"} {
		f.Namespaces[ns], _ = os.Readlink("/proc/self/ns/" + ns)
	}
	for file, field := range map[string]*string{
		"/proc/self/cgroup": &f.Cgroup, "/proc/self/oom_score_adj": &f.OOM, "/proc/self/attr/current": &f.Label, "/proc/self/limits": &f.Limits,
	} {
		text, _ := os.ReadFile(file)
		*field = string(text)
	}
	f.Hostname, _ = os.Hostname()
	f.Session, _ = unix.Getsid(0)
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	// in pieces, for a log that cuts long lines
	for len(data) > 0 {
		n := min(len(data), 2000)
		fmt.Fprintf(os.Stdout, "report %d %s\n", os.Getpid(), data[:n])
		data = data[n:]
	}
	fmt.Fprintf(os.Stdout, "reported %d\n", os.Getpid())
	done()
	return nil
}

// openDescriptors are all but those of the runtime and the one that lists.
func openDescriptors() []string {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = unix.Close(dir) }()
	buf := make([]byte, 256<<10)
	n, err := unix.ReadDirent(dir, buf)
	if err != nil {
		return []string{err.Error()}
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	all := []string{}
	for _, name := range names {
		to, err := os.Readlink("/proc/self/fd/" + name)
		if err != nil || name == strconv.Itoa(dir) || strings.HasPrefix(to, "anon_inode:[event") {
			continue
		}
		if len(name) > 1 || name > "2" {
			name += "=" + to
		}
		all = append(all, name)
	}
	return all
}

// rest says ready and waits for its end.
func rest(args []string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Fprintln(os.Stdout, strings.Join(append([]string{"ready"}, args...), " "))
	<-c
	return nil
}

// become is for programs that change who they are when executed.
func become(args []string) error {
	return unix.Exec(args[0], args, os.Environ())
}
