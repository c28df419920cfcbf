// SPDX-License-Identifier: Apache-2.0

// Package v1alpha is the gRPC API that `rkt api-service` serves, made from
// api.proto by `make protobuf`. Do not edit the generated files.
//
//	conn, err := grpc.NewClient("unix:///run/rkt/api.sock",
//		grpc.WithTransportCredentials(insecure.NewCredentials()))
//	pods, err := v1alpha.NewPublicAPIClient(conn).ListPods(ctx, &v1alpha.ListPodsRequest{})
//
// Fields and semantics: spec services.md 2.2 to 2.7, docs/api-service.md.
package v1alpha
