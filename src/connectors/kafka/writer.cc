#include "connectors/kafka/writer.h"

#include <utility>

#include "connectors/kafka/counts_sink.h"

namespace sightline {

struct KafkaWriter::State : kafka::WriterState {
  using WriterState::WriterState;
};

KafkaWriter::KafkaWriter(KafkaWriterOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
KafkaWriter::~KafkaWriter() = default;

std::unique_ptr<Sink> KafkaWriter::OpenSink(std::function<void()> on_answer) {
  return std::make_unique<kafka::CountsSink>(*state_, std::move(on_answer));
}

KafkaWriterStats KafkaWriter::stats() const {
  return {.commits = state_->commits.load(),
          .messages = state_->messages.load(),
          .failures = state_->failures.load(),
          .commit_microseconds = state_->commit_microseconds.load()};
}

}  // namespace sightline
