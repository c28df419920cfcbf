// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"slices"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func TestGCNeeds(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  []string
		ok    bool
	}{
		{"cgroups", []string{"cgroups"}, true},
		{"cgroups,net-info.json", []string{"cgroups", "net-info.json"}, true},
		{"", nil, false},
		{"cgroups,", nil, false},
		{"../../etc/passwd", nil, false},
		{"..", nil, false},
	} {
		m := &appc.ImageManifest{}
		m.Annotations.Set(AnnotationGCNeeds, tt.value)
		if got, ok := GCNeeds(m); ok != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("GCNeeds(%q) = %q, %v; want %q, %v", tt.value, got, ok, tt.want, tt.ok)
		}
	}
	if _, ok := GCNeeds(&appc.ImageManifest{}); ok {
		t.Error("an image without the annotation has its gc program run")
	}
}
