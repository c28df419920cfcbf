// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// MemoryFlag makes the isolator of --memory.
func MemoryFlag(s string) (appc.Isolator, error) {
	q, err := appc.ParseQuantity(s)
	if err != nil {
		return appc.Isolator{}, err
	}
	if n := q.Value(); n < minMemory {
		return appc.Isolator{}, fmt.Errorf("memory limit of %d bytes too low. Try a reasonable value, such as --memory=16M", n)
	}
	return resource(Memory, q)
}

// CPUFlag makes the isolator of --cpu.
func CPUFlag(s string) (appc.Isolator, error) {
	q, err := appc.ParseQuantity(s)
	if err != nil {
		return appc.Isolator{}, err
	}
	if err := checkMilli(&q); err != nil {
		return appc.Isolator{}, err
	}
	if q.MilliValue() <= 0 {
		return appc.Isolator{}, fmt.Errorf("cpu limit %s is not positive", s)
	}
	return resource(CPU, q)
}

func resource(name string, q appc.Quantity) (appc.Isolator, error) {
	return isolator(name, struct {
		Default bool          `json:"default"`
		Request appc.Quantity `json:"request"`
		Limit   appc.Quantity `json:"limit"`
	}{Request: q, Limit: q})
}

// CPUSharesFlag makes the isolator of --cpu-shares.
func CPUSharesFlag(n int) (appc.Isolator, error) {
	if err := checkShares(int64(n)); err != nil {
		return appc.Isolator{}, err
	}
	return isolator(CPUShares, n)
}

// PidsFlag makes the isolator of --pids-limit.
func PidsFlag(n int) (appc.Isolator, error) {
	if err := checkPids(int64(n)); err != nil {
		return appc.Isolator{}, err
	}
	q, err := appc.ParseQuantity(strconv.Itoa(n))
	if err != nil {
		return appc.Isolator{}, err
	}
	return isolator(Pids, struct {
		Default bool          `json:"default"`
		Limit   appc.Quantity `json:"limit"`
	}{Limit: q})
}

// IOWeightFlag makes the isolator of --io-weight.
func IOWeightFlag(n int) (appc.Isolator, error) {
	if err := checkIOWeight(int64(n)); err != nil {
		return appc.Isolator{}, err
	}
	return isolator(IOWeight, n)
}

// OOMScoreAdjFlag makes the isolator of --oom-score-adj.
func OOMScoreAdjFlag(n int) (appc.Isolator, error) {
	if err := checkOOMScore(int64(n)); err != nil {
		return appc.Isolator{}, err
	}
	return isolator(OOMScoreAdj, n)
}

// CapsRetainFlag makes the isolator of --caps-retain.
func CapsRetainFlag(names []string) (appc.Isolator, error) { return capsFlag(CapsRetain, names) }

// CapsRemoveFlag makes the isolator of --caps-remove.
func CapsRemoveFlag(names []string) (appc.Isolator, error) { return capsFlag(CapsRemove, names) }

func capsFlag(name string, names []string) (appc.Isolator, error) {
	if len(names) == 0 {
		return appc.Isolator{}, errEmptySet
	}
	if _, err := caps.Parse(names); err != nil {
		return appc.Isolator{}, err
	}
	return isolator(name, setValue{Set: names})
}

// Errors of --seccomp.
var (
	ErrSeccompMode = errors.New("invalid seccomp mode command-line override")
	ErrSeccompFlag = errors.New("invalid seccomp command-line override")
)

// SeccompFlag makes the isolator of --seccomp, whose value is
// mode=retain|remove[,errno=ENAME],name[,name…] in any order.
func SeccompFlag(s string) (appc.Isolator, error) {
	var name, mode string
	var v setValue
	for word := range strings.SplitSeq(s, ",") {
		key, val, isPair := strings.Cut(word, "=")
		switch {
		case !isPair && word == "":
			return appc.Isolator{}, ErrSeccompFlag
		case !isPair:
			v.Set = append(v.Set, word)
		case key == "mode":
			mode = val
		case key == "errno":
			v.Errno = val
		default:
			return appc.Isolator{}, ErrSeccompFlag
		}
	}
	var m seccomp.Mode
	switch mode {
	case "retain":
		name, m = SeccompRetain, seccomp.Retain
	case "remove":
		name, m = SeccompRemove, seccomp.Remove
	default:
		return appc.Isolator{}, ErrSeccompMode
	}
	if len(v.Set) == 0 {
		return appc.Isolator{}, errEmptySet
	}
	if _, err := seccomp.NewPolicy(m, v.Set, v.Errno); err != nil {
		return appc.Isolator{}, err
	}
	return isolator(name, v)
}

func isolator(name string, value any) (appc.Isolator, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return appc.Isolator{}, fmt.Errorf("isolator %s: %w", name, err)
	}
	return appc.Isolator{Name: appc.Identifier(name), Value: raw}, nil
}
