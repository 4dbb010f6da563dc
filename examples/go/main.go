// A complete agent in Go: it reads its context, follows the comments of a review, and stores a result.
//
// It keeps on when the sidecar restarts: calls wait for it, and the subscription continues after its cursor.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	orchestra "github.com/visiquate/cco/gen/go/orchestra/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// An agent's token can be exchanged in its last five minutes.
const refreshBefore = 4 * time.Minute

type agent struct {
	id, agentType, issue string
	token                string
	contexts             orchestra.ContextServiceClient
	events               orchestra.EventServiceClient
	results              orchestra.ResultServiceClient
	agents               orchestra.AgentServiceClient
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, describe(err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	connection, err := grpc.NewClient(
		os.Getenv("SIDECAR_GRPC"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	a := &agent{
		id: os.Getenv("AGENT_ID"), agentType: os.Getenv("AGENT_TYPE"), issue: os.Getenv("ISSUE_ID"),
		token:    os.Getenv("JWT_TOKEN"),
		contexts: orchestra.NewContextServiceClient(connection),
		events:   orchestra.NewEventServiceClient(connection),
		results:  orchestra.NewResultServiceClient(connection),
		agents:   orchestra.NewAgentServiceClient(connection),
	}
	read, err := a.readContext(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("context: %d files, %d bytes\n", len(read.RelevantFiles), proto.Size(read))
	started, err := a.publish(ctx, "implementation_started")
	if err != nil {
		return err
	}
	comments, err := a.followReview(ctx, started)
	if err != nil {
		return err
	}
	if err := a.storeResult(ctx, read, comments); err != nil {
		return err
	}
	_, err = a.publish(ctx, "implementation_complete")
	return err
}

// readContext reads a context of any size; GetContext is limited by the client, by default to 4 MB.
func (a *agent) readContext(ctx context.Context) (read *orchestra.Context, err error) {
	err = a.retry(ctx, func(ctx context.Context) error {
		request := &orchestra.StreamContextRequest{IssueId: a.issue, AgentType: a.agentType}
		stream, err := a.contexts.StreamContext(ctx, request)
		if err != nil {
			return err
		}
		read = &orchestra.Context{}
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if part.Fragment != nil {
				proto.Merge(read, part.Fragment)
			}
		}
	})
	return read, err
}

// publish announces something about the issue once, however often the call has to be repeated.
func (a *agent) publish(ctx context.Context, eventType string) (id string, err error) {
	err = a.retry(ctx, func(ctx context.Context) error {
		published, err := a.events.PublishEvent(ctx, &orchestra.PublishEventRequest{
			EventType: eventType, Topic: "implementation", IdempotencyKey: a.id + " " + eventType,
		})
		id = published.GetEventId()
		return err
	})
	return id, err
}

// followReview handles each comment after the cursor once, until the review is finished.
func (a *agent) followReview(ctx context.Context, cursor string) (comments int, err error) {
	finished := false
	for !finished {
		err = a.retry(ctx, func(ctx context.Context) error {
			stream, err := a.events.Subscribe(ctx, &orchestra.SubscribeRequest{
				EventTypes: []string{"review_comment", "review_finished"}, Since: cursor,
			})
			if err != nil {
				return err
			}
			for !finished {
				batch, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if batch.Gap != nil {
					return fmt.Errorf("%d events are no longer retained", batch.Gap.Missed)
				}
				for _, event := range batch.Events {
					if event.EventType == "review_finished" {
						finished = true
						break
					}
					comments++
					fmt.Printf("comment %v\n", event.Data.GetFields()["number"].GetNumberValue())
				}
				cursor = batch.Cursor
			}
			return nil
		})
		if err != nil {
			return comments, err
		}
	}
	return comments, nil
}

func (a *agent) storeResult(ctx context.Context, read *orchestra.Context, comments int) error {
	return a.retry(ctx, func(ctx context.Context) error {
		_, err := a.results.CreateResult(ctx, &orchestra.CreateResultRequest{IdempotencyKey: "result", Result: &orchestra.AgentResult{
			Status:    orchestra.ResultStatus_RESULT_STATUS_SUCCESS,
			Decisions: []string{"every comment of the review was handled"},
			Metrics:   map[string]float64{"comments": float64(comments), "context_bytes": float64(proto.Size(read))},
		}})
		return err
	})
}

// retry repeats a call that the sidecar was not there to answer.
func (a *agent) retry(ctx context.Context, call func(context.Context) error) error {
	for {
		err := a.refreshToken(ctx)
		if err == nil {
			err = call(a.authorise(ctx))
		}
		if status.Code(err) != codes.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *agent) authorise(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token)
}

func (a *agent) refreshToken(ctx context.Context) error {
	if time.Until(expiry(a.token)) > refreshBefore {
		return nil
	}
	refreshed, err := a.agents.RefreshToken(a.authorise(ctx), &orchestra.RefreshTokenRequest{})
	if err == nil {
		a.token = refreshed.JwtToken
	}
	return err
}

func expiry(token string) time.Time {
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(payload, &claims)
	}
	return time.Unix(claims.Exp, 0)
}

// describe adds the sidecar's error code, which REST shows too.
func describe(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason + ": " + status.Convert(err).Message()
		}
	}
	return err.Error()
}
