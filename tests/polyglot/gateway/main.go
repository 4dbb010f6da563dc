// A grpc-gateway of the published protos: gateway <gRPC address>. It prints the address that it listens on.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // the details of errors, as JSON
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	gateway "gateway/orchestra/v1"
)

func main() {
	connection, err := grpc.NewClient(
		os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A context has at most 10 MiB; the default is 4 MiB.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true},
			UnmarshalOptions: protojson.UnmarshalOptions{},
		}),
	)
	ctx := context.Background()
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gateway.RegisterAgentServiceHandler,
		gateway.RegisterApprovalServiceHandler,
		gateway.RegisterConsumerServiceHandler,
		gateway.RegisterContextServiceHandler,
		gateway.RegisterCredentialServiceHandler,
		gateway.RegisterEventServiceHandler,
		gateway.RegisterResultServiceHandler,
		gateway.RegisterScheduleServiceHandler,
		gateway.RegisterSchemaServiceHandler,
		gateway.RegisterSystemServiceHandler,
		gateway.RegisterWebhookServiceHandler,
	} {
		if err := register(ctx, mux, connection); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}
