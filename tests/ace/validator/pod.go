// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// facts are what one app tells the other.
type facts struct {
	PID        int
	Namespaces map[string]string
	Hostname   string
	Root       uint64 // inode of /
}

var sharedNamespaces = [...]string{"net", "ipc", "uts", "pid"}

func ownFacts() (facts, error) {
	f := facts{PID: os.Getpid(), Namespaces: map[string]string{}}
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		return f, err
	}
	f.Root = st.Ino
	for _, ns := range append(sharedNamespaces[:], "mnt", "user") {
		to, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			return f, err
		}
		f.Namespaces[ns] = to
	}
	var err error
	f.Hostname, err = os.Hostname()
	return f, err
}

// tellNamespaces lets the test outside compare them with the host's.
func tellNamespaces(app string) error {
	f, err := ownFacts()
	if err != nil {
		return err
	}
	for _, ns := range append(sharedNamespaces[:], "mnt") {
		fmt.Fprintf(os.Stdout, "namespace %s.%s %s\n", app, ns, f.Namespaces[ns])
	}
	return nil
}

func mainChecks() []check {
	var checks []check
	checks = append(checks, check{"order", orderIs("pre-start-begins", "pre-start-ends", "main-begins")})
	checks = append(checks, check{"argv", argv(append([]string{expect.Program}, expect.MainArgs()...))})
	checks = append(checks, envChecks(mainEnv())...)
	checks = append(checks, accountChecks(mainAccount())...)
	checks = append(checks, processChecks(expect.MainDir)...)
	checks = append(checks, rootChecks(expect.MainMarker, expect.SidekickMarker)...)
	checks = append(checks, check{"fs.root-writable", func() error { return writable(expect.Home) }})
	checks = append(checks, apiChecks()...)
	checks = append(checks, nameChecks()...)
	checks = append(checks, volumeChecks()...)
	checks = append(checks, networkChecks()...)
	return append(checks,
		check{"isolators.bounding-set", capabilities("CapBnd", expect.Mask(expect.DefaultCaps()))},
		check{"isolators.no-capabilities", func() error {
			return first(capabilities("CapPrm", 0)(), capabilities("CapEff", 0)(), capabilities("CapInh", 0)(), capabilities("CapAmb", 0)())
		}},
		check{"isolators.seccomp", statusIs("Seccomp", "2")},
		check{"isolators.no-new-privileges", statusIs("NoNewPrivs", "1")}, // forced: a filter and a user that is not root
	)
}

// networkChecks: a pod has a loopback interface; with --net=none no other.
func networkChecks() []check {
	return []check{
		{"network.loopback", func() error {
			lo, err := net.InterfaceByName("lo")
			if err != nil {
				return err
			}
			if lo.Flags&net.FlagUp == 0 {
				return errors.New("lo is down")
			}
			addrs, err := lo.Addrs()
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(addrs, func(a net.Addr) bool { return a.String() == "127.0.0.1/8" }) {
				return fmt.Errorf("no 127.0.0.1 on lo: %v", addrs)
			}
			return nil
		}},
		{"network.nothing-else", func() error {
			all, err := net.Interfaces()
			if err != nil {
				return err
			}
			for _, i := range all {
				if i.Name != "lo" && i.Flags&net.FlagUp != 0 {
					return fmt.Errorf("%s is up", i.Name)
				}
			}
			return nil
		}},
	}
}

// playMain does main's checks, then those that need sidekick.
func playMain() error {
	if err := order("main-begins"); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "main on stderr")
	run(expect.RoleMain, mainChecks())
	if err := tellNamespaces(expect.Main); err != nil {
		return err
	}
	p := newPeer()
	run(expect.RoleMain, togetherChecks(p))
	p.quit()
	return order("main-ends")
}

// peer is main's side of the conversation with sidekick.
type peer struct {
	conn  net.Conn
	lines *bufio.Reader
	err   error
}

// newPeer connects, and waits for sidekick to listen.
func newPeer() *peer {
	if _, err := os.Stat(expect.AloneFile); err == nil {
		return &peer{err: errors.New("there is no sidekick")}
	}
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var c net.Conn
		if c, err = net.Dial("tcp", sidekickAddr()); err == nil {
			if err = c.SetDeadline(time.Now().Add(30 * time.Second)); err == nil {
				return &peer{conn: c, lines: bufio.NewReader(c)}
			}
		}
	}
	return &peer{err: err}
}

func sidekickAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(expect.SidekickPort)) }

// ask sends a line and returns the answer; one that begins with "error " is one.
func (p *peer) ask(format string, args ...any) (string, error) {
	if p.err != nil {
		return "", p.err
	}
	if _, err := fmt.Fprintf(p.conn, format+"\n", args...); err != nil {
		return "", err
	}
	line, err := p.lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if why, ok := strings.CutPrefix(line, "error "); ok {
		return "", errors.New("sidekick: " + why)
	}
	return line, nil
}

func (p *peer) quit() {
	if p.err == nil {
		_, _ = p.ask("quit")
		_ = p.conn.Close()
	}
}

// togetherChecks are main's checks that need sidekick.
func togetherChecks(p *peer) []check {
	ask := func(format string, args ...any) error {
		_, err := p.ask(format, args...)
		return err
	}
	their := func() (mine, theirs facts, err error) {
		line, err := p.ask("facts")
		if err != nil {
			return mine, theirs, err
		}
		if err := json.Unmarshal([]byte(line), &theirs); err != nil {
			return mine, theirs, err
		}
		mine, err = ownFacts()
		return mine, theirs, err
	}
	namespace := func(ns string, shared bool) func() error {
		return func() error {
			mine, theirs, err := their()
			if err != nil {
				return err
			}
			if (mine.Namespaces[ns] == theirs.Namespaces[ns]) != shared {
				return fmt.Errorf("main has %s, sidekick %s", mine.Namespaces[ns], theirs.Namespaces[ns])
			}
			return nil
		}
	}
	checks := []check{{"pod.loopback", func() error { return ask("hello") }}}
	for _, ns := range sharedNamespaces {
		checks = append(checks, check{"pod.shares-" + ns, namespace(ns, true)})
	}
	return append(checks,
		check{"pod.own-mnt", namespace("mnt", false)},
		check{"pod.own-root", func() error {
			mine, theirs, err := their()
			if err == nil && mine.Root == theirs.Root {
				err = errors.New("the same root directory")
			}
			return err
		}},
		check{"pod.same-hostname", func() error {
			mine, theirs, err := their()
			return first(err, same(mine.Hostname, theirs.Hostname))
		}},
		check{"pod.sees-processes", func() error {
			_, theirs, err := their()
			if err != nil {
				return err
			}
			if err := unix.Kill(theirs.PID, 0); err != nil && !errors.Is(err, unix.EPERM) {
				return err
			}
			return ask("alive %d", os.Getpid())
		}},
		check{"pod.system-v-ipc", func() error {
			id, err := unix.SysvShmGet(expect.ShmKey, 4096, unix.IPC_CREAT|0o666)
			if err != nil {
				return fmt.Errorf("shmget: %w", err)
			}
			mem, err := unix.SysvShmAttach(id, 0, 0)
			if err != nil {
				return fmt.Errorf("shmat: %w", err)
			}
			copy(mem, "of main")
			return ask("shm")
		}},
		check{"pod.shares-dev-shm", func() error {
			return first(os.WriteFile("/dev/shm/of-main", []byte("of main"), 0o644), ask("file /dev/shm/of-main of main"))
		}},
		check{"pod.own-tmp", func() error {
			return first(os.WriteFile("/tmp/of-main", []byte("of main"), 0o644), ask("missing /tmp/of-main"))
		}},
		check{"pod.shares-empty-volume", func() error {
			return first(os.WriteFile(filepath.Join(expect.SharedMain, "of-main"), []byte("of main"), 0o644),
				ask("file %s of main", filepath.Join(expect.SharedSide, "of-main")),
				ask("write %s", filepath.Join(expect.SharedSide, "of-sidekick")),
				content(filepath.Join(expect.SharedMain, "of-sidekick"), "of sidekick"))
		}},
	)
}

func sidekickChecks() []check {
	checks := []check{
		{"argv", argv([]string{filepath.Join(expect.SidekickBin, "ace"), expect.RoleSidekick})}, // by PATH, the link
	}
	checks = append(checks, envChecks(sidekickEnv())...)
	checks = append(checks, accountChecks(rootAccount())...)
	checks = append(checks, processChecks("/")...) // the default
	checks = append(checks, rootChecks(expect.SidekickMarker, expect.MainMarker)...)
	checks = append(checks, check{"fs.root-writable", func() error { return writable("/") }})
	checks = append(checks, apiChecks()...)
	checks = append(checks, nameChecks()...)
	return append(checks,
		check{"isolators.bounding-set", capabilities("CapBnd", expect.Mask(expect.DefaultCaps()))},
		check{"isolators.effective-set", capabilities("CapEff", expect.Mask(expect.DefaultCaps()))},
		check{"isolators.inheritable", capabilities("CapInh", 0)},
		check{"isolators.seccomp", statusIs("Seccomp", "2")},
		check{"isolators.no-new-privileges", statusIs("NoNewPrivs", "0")},
	)
}

// playSidekick does its checks and serves main until main is done.
func playSidekick() error {
	run(expect.RoleSidekick, sidekickChecks()) // first: a socket would be a descriptor too much
	l, err := net.Listen("tcp", sidekickAddr())
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if err := tellNamespaces(expect.Sidekick); err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for s := bufio.NewScanner(c); s.Scan(); {
		if s.Text() == "quit" {
			run(expect.RoleSidekick, afterMainChecks())
			_, err := fmt.Fprintln(c, "bye")
			return err
		}
		answer, err := serve(strings.Fields(s.Text()))
		if err != nil {
			answer = "error " + err.Error()
		}
		if _, err := fmt.Fprintln(c, answer); err != nil {
			return err
		}
	}
	return errors.New("main went away")
}

// afterMainChecks are what sidekick sees when main is done.
func afterMainChecks() []check {
	return []check{
		{"volume.empty", func() error {
			st, err := os.Stat(expect.SharedSide)
			return first(err, owner(expect.SharedSide, expect.SharedUID, expect.SharedGID), same(st.Mode().Perm(), expect.SharedMode))
		}},
		{"fs.main-did-not-write-here", func() error { return missing(expect.MainDir) }},
	}
}

func serve(words []string) (string, error) {
	switch words[0] {
	case "hello":
		return "hello", nil
	case "facts":
		f, err := ownFacts()
		if err != nil {
			return "", err
		}
		data, err := json.Marshal(f)
		return string(data), err
	case "alive":
		pid, err := strconv.Atoi(words[1])
		if err != nil {
			return "", err
		}
		if err := unix.Kill(pid, 0); err != nil { // root with CAP_KILL may
			return "", fmt.Errorf("signal to main: %w", err)
		}
		return "yes", readable("/proc/"+words[1]+"/cmdline", expect.Program)
	case "shm":
		id, err := unix.SysvShmGet(expect.ShmKey, 4096, 0)
		if err != nil {
			return "", fmt.Errorf("shmget: %w", err)
		}
		mem, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			return "", fmt.Errorf("shmat: %w", err)
		}
		return "yes", same(string(mem[:7]), "of main")
	case "file":
		return "yes", content(words[1], strings.Join(words[2:], " "))
	case "missing":
		return "yes", missing(words[1])
	case "write":
		return "yes", os.WriteFile(words[1], []byte("of sidekick"), 0o644)
	}
	return "", fmt.Errorf("unknown word %q", words[0])
}
