#include "workers/refused_questions.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace sightline {

void RefusedQuestions::Add(std::string_view sql, Refusal refusal, Time now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(questions_, [&](const auto& question) { return question.second.until <= now; });
  if (questions_.size() >= kQuestionsMax)
    questions_.erase(std::ranges::min_element(
        questions_, {}, [](const auto& question) { return question.second.until; }));
  questions_[std::string(sql)] = {now + kRefused, std::move(refusal)};
}

std::optional<RefusedQuestions::Refusal> RefusedQuestions::Find(std::string_view sql, Time now) {
  const std::lock_guard lock(mutex_);
  const auto found = questions_.find(sql);
  if (found == questions_.end() || found->second.until <= now) return std::nullopt;
  return found->second.refusal;
}

}  // namespace sightline
