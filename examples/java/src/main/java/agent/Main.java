package agent;

import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.visiquate.cco.orchestra.v1.AgentResult;
import com.visiquate.cco.orchestra.v1.AgentServiceGrpc;
import com.visiquate.cco.orchestra.v1.Context;
import com.visiquate.cco.orchestra.v1.ContextServiceGrpc;
import com.visiquate.cco.orchestra.v1.CreateResultRequest;
import com.visiquate.cco.orchestra.v1.Event;
import com.visiquate.cco.orchestra.v1.EventServiceGrpc;
import com.visiquate.cco.orchestra.v1.PublishEventRequest;
import com.visiquate.cco.orchestra.v1.RefreshTokenRequest;
import com.visiquate.cco.orchestra.v1.ResultServiceGrpc;
import com.visiquate.cco.orchestra.v1.ResultStatus;
import com.visiquate.cco.orchestra.v1.StreamContextRequest;
import com.visiquate.cco.orchestra.v1.StreamContextResponse;
import com.visiquate.cco.orchestra.v1.SubscribeRequest;
import com.visiquate.cco.orchestra.v1.SubscribeResponse;
import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractStub;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.Iterator;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * A complete agent in Java: it reads its context, follows the comments of a review, and stores a result.
 *
 * <p>It keeps on when the sidecar restarts: calls are repeated, and the subscription continues after its cursor.
 */
public final class Main {
    /** An agent's token can be exchanged in its last five minutes. */
    private static final Duration REFRESH_BEFORE = Duration.ofMinutes(4);

    private static final Duration GIVE_UP_AFTER = Duration.ofMinutes(2);

    private final String id = variable("AGENT_ID");
    private final String type = variable("AGENT_TYPE");
    private final String issue = variable("ISSUE_ID");
    private String token = variable("JWT_TOKEN");

    private final AgentServiceGrpc.AgentServiceBlockingStub agents;
    private final ContextServiceGrpc.ContextServiceBlockingStub contexts;
    private final EventServiceGrpc.EventServiceBlockingStub events;
    private final ResultServiceGrpc.ResultServiceBlockingStub results;

    private String cursor = "";
    private int comments;

    public static void main(String[] arguments) throws InterruptedException {
        ManagedChannel channel = Grpc.newChannelBuilder(variable("SIDECAR_GRPC"), InsecureChannelCredentials.create())
                .build();
        try {
            new Main(channel).run();
        } catch (RuntimeException error) {
            System.err.println(describe(error));
            System.exit(1);
        } finally {
            channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        }
    }

    private Main(ManagedChannel channel) {
        agents = AgentServiceGrpc.newBlockingStub(channel);
        contexts = ContextServiceGrpc.newBlockingStub(channel);
        events = EventServiceGrpc.newBlockingStub(channel);
        results = ResultServiceGrpc.newBlockingStub(channel);
    }

    private void run() {
        Context read = retry(this::readContext);
        System.out.printf("context: %d files, %d bytes%n", read.getRelevantFilesCount(), read.getSerializedSize());
        cursor = publish("implementation_started");
        while (!retry(this::followReview)) {
            // The stream ended before the review did.
        }
        AgentResult result = AgentResult.newBuilder()
                .setStatus(ResultStatus.RESULT_STATUS_SUCCESS)
                .addDecisions("every comment of the review was handled")
                .putMetrics("comments", comments)
                .putMetrics("context_bytes", read.getSerializedSize())
                .build();
        CreateResultRequest request =
                CreateResultRequest.newBuilder().setResult(result).setIdempotencyKey("result").build();
        retry(() -> authorised(results).createResult(request));
        publish("implementation_complete");
    }

    /** Reads a context of any size; getContext is limited by the client, by default to 4 MB. */
    private Context readContext() {
        StreamContextRequest request = StreamContextRequest.newBuilder().setIssueId(issue).setAgentType(type).build();
        Context.Builder read = Context.newBuilder();
        Iterator<StreamContextResponse> parts = authorised(contexts).streamContext(request);
        while (parts.hasNext()) {
            StreamContextResponse part = parts.next();
            if (part.hasFragment()) {
                read.mergeFrom(part.getFragment());
            }
        }
        return read.build();
    }

    /** Announces something about the issue once, however often the call has to be repeated. */
    private String publish(String eventType) {
        PublishEventRequest request = PublishEventRequest.newBuilder()
                .setEventType(eventType)
                .setTopic("implementation")
                .setIdempotencyKey(id + " " + eventType)
                .build();
        return retry(() -> authorised(events).publishEvent(request)).getEventId();
    }

    /** Handles each comment after the cursor once. Returns false if the stream ends before the review is finished. */
    private boolean followReview() {
        SubscribeRequest request = SubscribeRequest.newBuilder()
                .addEventTypes("review_comment")
                .addEventTypes("review_finished")
                .setSince(cursor)
                .build();
        Iterator<SubscribeResponse> batches = authorised(events).subscribe(request);
        while (batches.hasNext()) {
            SubscribeResponse batch = batches.next();
            if (batch.hasGap()) {
                throw new IllegalStateException(batch.getGap().getMissed() + " events are no longer retained");
            }
            for (Event event : batch.getEventsList()) {
                if (event.getEventType().equals("review_finished")) {
                    return true;
                }
                comments++;
                double number = event.getData().getFieldsOrThrow("number").getNumberValue();
                System.out.printf("comment %.0f%n", number);
            }
            cursor = batch.getCursor();
        }
        return false;
    }

    /** Repeats a call that the sidecar was not there to answer. */
    private static <T> T retry(Supplier<T> call) {
        Instant giveUp = Instant.now().plus(GIVE_UP_AFTER);
        while (true) {
            try {
                return call.get();
            } catch (StatusRuntimeException error) {
                if (error.getStatus().getCode() != Status.Code.UNAVAILABLE || Instant.now().isAfter(giveUp)) {
                    throw error;
                }
                pause();
            }
        }
    }

    /** Returns the stub with a token that is still valid for a while. */
    private <S extends AbstractStub<S>> S authorised(S stub) {
        if (Instant.now().plus(REFRESH_BEFORE).isAfter(expiry(token))) {
            token = agents.withCallCredentials(new Bearer(token))
                    .refreshToken(RefreshTokenRequest.getDefaultInstance())
                    .getJwtToken();
        }
        return stub.withCallCredentials(new Bearer(token));
    }

    private static Instant expiry(String token) {
        byte[] payload = Base64.getUrlDecoder().decode(token.split("\\.")[1]);
        String claims = new String(payload, StandardCharsets.UTF_8);
        return Instant.ofEpochSecond(JsonParser.parseString(claims).getAsJsonObject().get("exp").getAsLong());
    }

    private static void pause() {
        try {
            Thread.sleep(200);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException("interrupted", interrupted);
        }
    }

    private static String variable(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set");
        }
        return value;
    }

    /** Adds the sidecar's error code, which REST shows too. */
    private static String describe(RuntimeException error) {
        com.google.rpc.Status status = StatusProto.fromThrowable(error);
        if (status == null) {
            return error.toString();
        }
        for (Any detail : status.getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                try {
                    return detail.unpack(ErrorInfo.class).getReason() + ": " + status.getMessage();
                } catch (InvalidProtocolBufferException broken) {
                    break;
                }
            }
        }
        return Status.fromThrowable(error).getCode() + ": " + status.getMessage();
    }

    private static final class Bearer extends CallCredentials {
        private static final Metadata.Key<String> AUTHORIZATION =
                Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

        private final String token;

        Bearer(String token) {
            this.token = token;
        }

        @Override
        public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
            Metadata headers = new Metadata();
            headers.put(AUTHORIZATION, "Bearer " + token);
            applier.apply(headers);
        }
    }
}
