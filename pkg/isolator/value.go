// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Bounds of the integer isolators and of memory.
const (
	minShares, maxShares     = 2, 262144
	minOOMScore, maxOOMScore = -1000, 1000

	minIOWeight, maxIOWeight = appc.MinIOWeight, appc.MaxIOWeight
	// maxPids is what the kernel can count (PID_MAX_LIMIT).
	maxPids = 1 << 22

	// minMemory is what one page of memory takes: less than that is a typing
	// error such as --memory=16 for 16M.
	minMemory = 4096
)

type resourceValue struct {
	Default *bool          `json:"default"`
	Request *appc.Quantity `json:"request"`
	Limit   *appc.Quantity `json:"limit"`
}

func unmarshalResource(item Item) (resourceValue, error) {
	var v resourceValue
	if err := json.Unmarshal(item.Value, &v); err != nil {
		return v, fmt.Errorf("value is not a resource: %w", err)
	}
	if v.Default != nil && *v.Default {
		return v, errors.New("default must be false")
	}
	return v, nil
}

func memory(item Item) (*Resource, error) {
	v, err := unmarshalResource(item)
	if err != nil {
		return nil, err
	}
	r := &Resource{Origin: item.Origin}
	if v.Limit != nil {
		if r.Limit = v.Limit.Value(); r.Limit <= 0 {
			return nil, fmt.Errorf("limit %s is not positive", v.Limit)
		}
	}
	if v.Request != nil {
		if r.Request = v.Request.Value(); r.Request < 0 {
			return nil, fmt.Errorf("request %s is negative", v.Request)
		}
	}
	return r, nil
}

func pids(item Item) (*Resource, error) {
	v, err := unmarshalResource(item)
	if err != nil {
		return nil, err
	}
	r := &Resource{Origin: item.Origin}
	if v.Limit != nil {
		r.Limit = v.Limit.Value()
		if err := checkPids(r.Limit); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func checkPids(n int64) error {
	if n < 1 || n > maxPids {
		return fmt.Errorf("pids limit must be between 1 and %d, got %d", maxPids, n)
	}
	return nil
}

func cpu(item Item) (*Resource, error) {
	v, err := unmarshalResource(item)
	if err != nil {
		return nil, err
	}
	r := &Resource{Origin: item.Origin}
	if v.Limit != nil {
		if err := checkMilli(v.Limit); err != nil {
			return nil, err
		}
		if r.Limit = v.Limit.MilliValue(); r.Limit <= 0 {
			return nil, fmt.Errorf("limit %s is not positive", v.Limit)
		}
	}
	if v.Request != nil {
		if err := checkMilli(v.Request); err != nil {
			return nil, err
		}
		if r.Request = v.Request.MilliValue(); r.Request < 0 {
			return nil, fmt.Errorf("request %s is negative", v.Request)
		}
	}
	return r, nil
}

// checkMilli refuses what does not fit into thousandths.
func checkMilli(q *appc.Quantity) error {
	if q.Value() > math.MaxInt64/1000 {
		return fmt.Errorf("cpu limit exceeds the maximum millivalue: %v", q)
	}
	return nil
}

func integer(item Item, check func(int64) error) (*Int, error) {
	var n int64
	if err := json.Unmarshal(item.Value, &n); err != nil {
		return nil, fmt.Errorf("value is not an integer: %w", err)
	}
	if err := check(n); err != nil {
		return nil, err
	}
	return &Int{Value: n, Origin: item.Origin}, nil
}

func checkShares(n int64) error {
	if n < minShares || n > maxShares {
		return fmt.Errorf("%s must be between %d and %d, got %d", CPUShares, minShares, maxShares, n)
	}
	return nil
}

func checkOOMScore(n int64) error {
	if n < minOOMScore || n > maxOOMScore {
		return fmt.Errorf("%s must be between %d and %d, got %d", OOMScoreAdj, minOOMScore, maxOOMScore, n)
	}
	return nil
}

func checkIOWeight(n int64) error {
	if n < minIOWeight || n > maxIOWeight {
		return fmt.Errorf("%s must be between %d and %d, got %d", IOWeight, minIOWeight, maxIOWeight, n)
	}
	return nil
}
