// SPDX-License-Identifier: Apache-2.0

// Command probe is the app of the tests: it tells what it sees as JSON, or
// does one thing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

type report struct {
	Args      []string
	Env       []string
	Dir       string
	UID, GID  int
	EUID      int
	Groups    []int
	Umask     int
	FDs       []string
	Status    map[string]string
	Nofile    uint64
	OOM       string
	Cgroup    string
	Namespace map[string]string
	PID, PGID int
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(99)
	}
	arg := func(i int) string { return os.Args[i] }
	var err error
	switch arg(1) {
	case "report":
		err = json.NewEncoder(os.Stdout).Encode(look())
	case "exit":
		n, _ := strconv.Atoi(arg(2))
		os.Exit(n)
	case "signal":
		n, _ := strconv.Atoi(arg(2))
		signal.Reset()
		err = syscall.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	case "write":
		err = os.WriteFile(arg(2), []byte("written by the app\n"), 0o644)
	case "cat":
		var data []byte
		if data, err = os.ReadFile(arg(2)); err == nil {
			_, err = os.Stdout.Write(data)
		}
	case "stat":
		var st syscall.Stat_t
		if err = syscall.Lstat(arg(2), &st); err == nil {
			fmt.Printf("%o %d:%d\n", st.Mode, st.Uid, st.Gid)
		}
	case "ls":
		var list []os.DirEntry
		list, err = os.ReadDir(arg(2))
		for _, e := range list {
			fmt.Println(e.Name())
		}
	case "mkdir":
		err = os.Mkdir(arg(2), 0o755)
	case "wait": // until stdin ends
		fmt.Println("ready")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	case "dropcap":
		const capBsetDrop = 24 // PR_CAPBSET_DROP
		runtime.LockOSThread()
		n, _ := strconv.Atoi(arg(2))
		if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, capBsetDrop, uintptr(n), 0); e != 0 {
			err = e
			break
		}
		err = syscall.Exec(arg(3), os.Args[3:], os.Environ())
	case "rocgroups": // in a mount namespace of its own
		info, _ := os.ReadFile("/proc/self/mountinfo")
		for _, line := range strings.Split(string(info), "\n") {
			if strings.Contains(line, " - cgroup") && err == nil {
				err = syscall.Mount("", strings.Fields(line)[4], "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
			}
		}
		if err == nil {
			err = syscall.Exec(arg(2), os.Args[2:], os.Environ())
		}
	case "fork": // until the kernel refuses, 100 at most
		n := 0
		for n < 100 {
			pid, err := syscall.ForkExec(arg(0), []string{arg(0), "pause"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
			if err != nil {
				break
			}
			defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
			n++
		}
		fmt.Println(n)
	case "pause":
		select {}
	case "eat":
		var all [][]byte
		for range 256 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		fmt.Println(len(all))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func look() report {
	r := report{Args: os.Args, Env: os.Environ(), UID: os.Getuid(), GID: os.Getgid(), EUID: os.Geteuid(), PID: os.Getpid(), PGID: syscall.Getpgrp()}
	r.Dir, _ = os.Getwd()
	r.Groups, _ = os.Getgroups()
	r.Umask = syscall.Umask(0)
	sort.Strings(r.Env)
	r.Status = map[string]string{}
	status, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(status), "\n") {
		if k, v, ok := strings.Cut(l, ":"); ok {
			r.Status[k] = strings.TrimSpace(v)
		}
	}
	for fd := range 64 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil {
			if t, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil && !strings.HasPrefix(t, "anon_inode") && !strings.HasPrefix(t, "/sys/fs/cgroup") { // the Go runtime's own
				r.FDs = append(r.FDs, strconv.Itoa(fd))
			}
		}
	}
	limits, _ := os.ReadFile("/proc/self/limits")
	_ = limits
	for _, l := range strings.Split(string(limits), "\n") {
		if strings.HasPrefix(l, "Max open files") {
			r.Nofile, _ = strconv.ParseUint(strings.Fields(l)[4], 10, 64) // hard: Go raises the soft one
		}
	}
	oom, _ := os.ReadFile("/proc/self/oom_score_adj")
	r.OOM = strings.TrimSpace(string(oom))
	cg, _ := os.ReadFile("/proc/self/cgroup")
	r.Cgroup = string(cg)
	r.Namespace = map[string]string{}
	for _, n := range []string{"mnt", "ipc", "net", "pid", "uts"} {
		r.Namespace[n], _ = os.Readlink("/proc/self/ns/" + n)
	}
	return r
}
