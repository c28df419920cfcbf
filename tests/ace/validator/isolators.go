// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// childRole is a process that does one thing which may kill it.
const childRole = "child"

// playIsolator checks the one isolator that this app was started with.
func playIsolator(args []string) error {
	if len(args) != 1 {
		return errors.New("want the name of an isolator")
	}
	ok := isolatorCheck(args[0])
	if ok == nil {
		return fmt.Errorf("unknown isolator %q", args[0])
	}
	say(expect.RoleIsolator+"."+args[0], ok())
	return nil
}

func isolatorCheck(name string) func() error {
	bounding := func(caps ...int) func() error { return capabilities("CapBnd", expect.Mask(caps)) }
	const netAdmin, netBind = 12, 10
	switch name {
	case "none":
		return func() error {
			return first(bounding(expect.DefaultCaps()...)(), statusIs("NoNewPrivs", "0")(), statusIs("Seccomp", "2")())
		}
	case "caps-retain":
		return func() error {
			return first(bounding(netAdmin, netBind)(), capabilities("CapEff", expect.Mask([]int{netAdmin, netBind}))())
		}
	case "caps-remove": // the default without CAP_SYS_CHROOT and CAP_MKNOD
		return bounding(0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 29, 31)
	case "caps-remove-all":
		return bounding()
	case "no-new-privileges":
		return statusIs("NoNewPrivs", "1")
	case "no-new-privileges-false":
		return statusIs("NoNewPrivs", "0")
	case "seccomp-remove-errno":
		return func() error {
			return first(wantError("mkdir", os.Mkdir("/tmp/made", 0o755), unix.ENOTSUP), wantError("symlink", os.Symlink("x", "/tmp/link"), nil))
		}
	case "seccomp-remove":
		return func() error {
			if err := childDies("mkdir", syscall.SIGSYS); err != nil {
				return err
			}
			return wantError("symlink", os.Symlink("x", "/tmp/link"), nil)
		}
	case "seccomp-retain-errno":
		return func() error {
			return first(wantError("mkdir", os.Mkdir("/tmp/made", 0o755), unix.EACCES), wantError("chmod", os.Chmod("/tmp", 0o1777), unix.EACCES))
		}
	case "seccomp-retain-all": // whatever filter the pod may have: none of the app
		return func() error { return wantError("get_mempolicy", getMempolicy(), nil) }
	case "seccomp-remove-empty": // the default list
		return func() error { return wantError("get_mempolicy", getMempolicy(), unix.EPERM) }
	case "cpu":
		return throttled
	case "oom-score-adj":
		return func() error { return content("/proc/self/oom_score_adj", "321\n") }
	}
	return nil
}

// getMempolicy is harmless, needs no capability, and is not in the default list.
func getMempolicy() error {
	if _, _, e := unix.RawSyscall6(unix.SYS_GET_MEMPOLICY, 0, 0, 0, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

// wantError: want nil means success.
func wantError(what string, got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("%s: %w, want %w", what, got, want)
	}
	return nil
}

// childDies runs this program again as a child that does what kills it.
func childDies(what string, want syscall.Signal) error {
	err := exec.Command("/proc/self/exe", childRole, what).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w, want death by %v", what, err, want)
	}
	ws := exit.Sys().(syscall.WaitStatus)
	if !ws.Signaled() || ws.Signal() != want {
		return fmt.Errorf("%s: %w, want death by %v", what, err, want)
	}
	return nil
}

func playChild(args []string) error {
	if strings.Join(args, " ") == "mkdir" {
		return os.Mkdir("/tmp/made", 0o755)
	}
	return fmt.Errorf("unknown deed %q", args)
}

// throttled: a busy second takes a tenth of a second of processor time under
// a limit of 100m; three tenths leave room for the start.
func throttled() error {
	deadline := time.Now().Add(1500 * time.Millisecond)
	for time.Now().Before(deadline) { // burn time
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return err
	}
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if used > 500*time.Millisecond {
		return fmt.Errorf("used %v of 1.5s with a limit of a tenth", used)
	}
	return nil
}

// rolesOfOwn are the checks of pods that main and sidekick cannot be.
func rolesOfOwn() map[string][]check {
	return map[string][]check{
		expect.RoleMetadata: metadataChecks(),
		expect.RoleReadOnly: {
			{"root", func() error { return notWritable("/") }},
			{"directory-of-the-image", func() error { return notWritable("/etc") }},
			{"volume-stays-writable", func() error { return writable(expect.SharedMain) }},
			{"read-only-volume", func() error { return notWritable(expect.RO) }},
			{"dev-shm-stays-writable", func() error { return writable("/dev/shm") }},
		},
		expect.RoleCleanCopy: {
			{"nothing-of-an-earlier-pod", func() error { return missing("/etc/written-by-a-pod") }},
			{"the-image-as-it-was", func() error { return content("/etc/of-the-image", "of the image\n") }},
			{"write", func() error {
				return first(os.WriteFile("/etc/written-by-a-pod", nil, 0o644), os.WriteFile("/etc/of-the-image", []byte("changed\n"), 0o644))
			}},
		},
		expect.RoleEnter: append(append(envChecks(mainEnv()), accountChecks(mainAccount())...),
			check{"isolators.bounding-set", capabilities("CapBnd", expect.Mask(expect.DefaultCaps()))},
			check{"isolators.seccomp", statusIs("Seccomp", "2")},
			check{"isolators.no-new-privileges", statusIs("NoNewPrivs", "1")},
			check{"process.descriptors", descriptors},
		),
	}
}

// playEnd is an app that ends as told, or waits for its end.
func playEnd(role string, args []string) error {
	n := 0
	if len(args) > 0 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	if len(args) > 1 { // after that many milliseconds
		ms, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
	}
	switch role {
	case expect.RoleSignal:
		signal.Reset()
		if err := unix.Kill(os.Getpid(), syscall.Signal(n)); err != nil {
			return err
		}
		select {}
	case expect.RoleWait:
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "ready")
		<-c
		return nil
	case expect.RoleEat:
		eat()
		return nil
	}
	return exitWith(n)
}

// eat takes a quarter of a GiB and touches every page.
func eat() {
	all := make([][]byte, 0, 256)
	for range 256 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	runtime.KeepAlive(all)
}

// exitWith ends the process from outside main.go.
func exitWith(status int) error {
	syscall.Exit(status)
	return nil
}
