// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func TestCheckText(t *testing.T) {
	good := &appc.PodManifest{Apps: []appc.RuntimeApp{{Name: "a", App: &appc.App{Exec: []string{"/é", "\x01\n"}}}}}
	if err := checkText(reflect.ValueOf(good)); err != nil {
		t.Error(err)
	}
	for name, m := range map[string]*appc.PodManifest{
		"argument":   {Apps: []appc.RuntimeApp{{App: &appc.App{Exec: []string{"/bin/x", "\xff"}}}}},
		"variable":   {Apps: []appc.RuntimeApp{{App: &appc.App{Environment: appc.Environment{{Name: "X", Value: "a\xff"}}}}}},
		"volume":     {Volumes: []appc.Volume{{Name: "v", Source: "/\xfe"}}},
		"user label": {UserLabels: map[string]string{"k": "\xff"}},
	} {
		if err := checkText(reflect.ValueOf(m)); err == nil || !strings.Contains(err.Error(), "not valid UTF-8") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
