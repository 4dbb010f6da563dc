// Clients of the event bench in C++, for rates at which Python clients are the limit: grpc++'s asynchronous interface
// with raw bytes. Compiled by `make bench-event-rates`.
//
//   event_client subscribe TARGET TOKENS REQUEST COUNT WARM SECONDS
//   event_client publish   TARGET TOKENS REQUEST RATE  WARM SECONDS
//
// TOKENS holds one token a line; every subscriber and publisher uses its own. REQUEST is a serialised
// SubscribeRequest or PublishEventRequest; the correlation id of the latter is 20 characters, which are replaced by the
// time of the call in nanoseconds of the monotonic clock. Both print JSON; `subscribe` prints "ready" first.

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr int64_t kSecond = 1000000000;
constexpr size_t kStampChars = 20;
constexpr int kInFlight = 512;
constexpr int kPublishers = 16;
const char* const kSubscribe = "/orchestra.v1.EventService/Subscribe";
const char* const kPublish = "/orchestra.v1.EventService/PublishEvent";
// Fields of orchestra.v1.Event.
constexpr uint64_t kEventId = 1, kCorrelationId = 7;

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

std::string ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> Lines(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::unique_ptr<grpc::GenericStub> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);
  return std::make_unique<grpc::GenericStub>(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
}

double Percentile(std::vector<int64_t>& sorted, double share) {
  if (sorted.empty()) return -1;
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(sorted.size() * share))] / 1e6;
}

uint64_t Varint(const char*& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    uint8_t byte = *at++;
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
}

// Calls `each(field, data, size)` for every field of a message that is length-delimited.
template <typename Each>
void Fields(const char* at, const char* end, Each each) {
  while (at < end) {
    uint64_t tag = Varint(at);
    if ((tag & 7) == 2) {
      uint64_t size = Varint(at);
      each(tag >> 3, at, size);
      at += size;
    } else if ((tag & 7) == 0) {
      Varint(at);
    } else {
      at += (tag & 7) == 1 ? 8 : 4;
    }
  }
}

struct Subscriber {
  grpc::ClientContext context;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
  grpc::ByteBuffer buffer;
  int step = 0;
  long last = 0;
};

int Subscribe(const std::string& target, const std::vector<std::string>& tokens, const std::string& request, int count,
              double warm, double seconds) {
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (int i = 0; i < count; i++) {
    stubs.push_back(Connect(target));
    auto each = std::make_unique<Subscriber>();
    each->context.AddMetadata("authorization", "Bearer " + tokens[i % tokens.size()]);
    each->stream = stubs.back()->PrepareCall(&each->context, kSubscribe, &queue);
    each->stream->StartCall(each.get());
    subscribers.push_back(std::move(each));
  }
  std::vector<int64_t> latencies;
  long messages = 0, gaps = 0, failed = 0;
  int waiting = count;
  int64_t began = 0, from = 0, to = 0;
  void* tag;
  bool ok;
  while (queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + std::chrono::seconds(began ? 2 : 30)) ==
         grpc::CompletionQueue::GOT_EVENT) {
    auto* each = static_cast<Subscriber*>(tag);
    if (!ok) {
      if (++failed == count) break;
      continue;
    }
    if (each->step < 2) {
      grpc::Slice slice(request);
      grpc::ByteBuffer body(&slice, 1);
      if (each->step++ == 0) {
        each->stream->WriteLast(body, grpc::WriteOptions(), each);
      } else {
        each->stream->Read(&each->buffer, each);
      }
      continue;
    }
    int64_t now = Now();
    std::vector<grpc::Slice> slices;
    if (!each->buffer.Dump(&slices).ok()) return 1;
    std::string data;
    for (auto& slice : slices) data.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    if (each->step == 2) {
      each->step = 3;
      if (--waiting == 0) std::cout << "ready" << std::endl;
    }
    bool counted = false;
    Fields(data.data(), data.data() + data.size(), [&](uint64_t field, const char* event, size_t size) {
      if (field != 1) return;
      int64_t sent = 0;
      Fields(event, event + size, [&](uint64_t inner, const char* text, size_t length) {
        if (inner == kCorrelationId && length == kStampChars) sent = std::stoll(std::string(text, length));
        if (inner == kEventId && length > 10) {
          long number = std::stol(std::string(text + length - 10, 10));
          if (each->last && number != each->last + 1) gaps++;
          each->last = number;
        }
      });
      if (!began) {
        began = now;
        from = now + static_cast<int64_t>(warm * kSecond);
        to = from + static_cast<int64_t>(seconds * kSecond);
      }
      if (now >= from && now < to) {
        latencies.push_back(now - sent);
        counted = true;
      }
    });
    messages += counted;
    if (began && now > to) break;
    each->stream->Read(&each->buffer, each);
  }
  std::sort(latencies.begin(), latencies.end());
  printf("{\"deliveries\": %.0f, \"messages\": %.0f, \"p50\": %.2f, \"p99\": %.2f, \"gaps\": %ld, \"failed\": %ld}\n",
         latencies.size() / seconds, messages / seconds, Percentile(latencies, 0.5), Percentile(latencies, 0.99), gaps,
         failed);
  fflush(stdout);
  _exit(0);
}

struct Publish {
  grpc::ClientContext context;
  grpc::ByteBuffer request, response;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> call;
  int64_t began;
};

int PublishAtRate(const std::string& target, const std::vector<std::string>& tokens, const std::string& request,
                  double rate, double warm, double seconds) {
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
  for (int i = 0; i < kPublishers; i++) stubs.push_back(Connect(target));
  size_t stamp = request.find(std::string(kStampChars, 'T'));
  if (stamp == std::string::npos) return 1;
  std::vector<int64_t> latencies;
  long sent = 0, failed = 0;
  int open = 0;
  int64_t began = Now(), from = began + static_cast<int64_t>(warm * kSecond);
  int64_t to = from + static_cast<int64_t>(seconds * kSecond);
  auto due = [&] { return began + static_cast<int64_t>(sent * kSecond / rate); };
  while (Now() < to || open > 0) {
    while (Now() < to && open < kInFlight && Now() >= due()) {
      auto* each = new Publish;
      each->began = Now();
      std::string body = request;
      char text[kStampChars + 1];
      snprintf(text, sizeof text, "%020lld", static_cast<long long>(each->began));
      memcpy(&body[stamp], text, kStampChars);
      each->context.AddMetadata("authorization", "Bearer " + tokens[sent % tokens.size()]);
      grpc::Slice slice(body);
      each->request = grpc::ByteBuffer(&slice, 1);
      each->call = stubs[sent % kPublishers]->PrepareUnaryCall(&each->context, kPublish, each->request, &queue);
      each->call->StartCall();
      each->call->Finish(&each->response, &each->status, each);
      sent++;
      open++;
    }
    int64_t wait = open < kInFlight && Now() < to ? std::max<int64_t>(0, due() - Now()) : kSecond / 10;
    void* tag;
    bool ok;
    if (queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + std::chrono::nanoseconds(wait)) !=
        grpc::CompletionQueue::GOT_EVENT) {
      continue;
    }
    auto* each = static_cast<Publish*>(tag);
    open--;
    if (!each->status.ok()) {
      if (failed++ < 3) std::cerr << each->status.error_message() << std::endl;
    } else if (each->began >= from && each->began < to) {
      latencies.push_back(Now() - each->began);
    }
    delete each;
  }
  std::sort(latencies.begin(), latencies.end());
  printf("{\"acknowledged\": %.0f, \"p50\": %.2f, \"p99\": %.2f, \"failed\": %ld, \"sent\": %ld}\n",
         latencies.size() / seconds, Percentile(latencies, 0.5), Percentile(latencies, 0.99), failed, sent);
  fflush(stdout);
  _exit(0);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 8) return 2;
  std::string role = arguments[1], target = arguments[2], request = ReadFile(arguments[4]);
  auto tokens = Lines(arguments[3]);
  double number = std::stod(arguments[5]), warm = std::stod(arguments[6]), seconds = std::stod(arguments[7]);
  if (role == "subscribe") return Subscribe(target, tokens, request, static_cast<int>(number), warm, seconds);
  return PublishAtRate(target, tokens, request, number, warm, seconds);
}
