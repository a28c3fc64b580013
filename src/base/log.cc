#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace sightline {
namespace {

spdlog::logger& Logger() {
  static const auto logger = [] {
    auto created = spdlog::stderr_color_mt("sightline");
    created->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    created->flush_on(spdlog::level::info);
    return created;
  }();
  return *logger;
}

}  // namespace

bool SetLogLevel(std::string_view level) {
  if (level == "debug") {
    Logger().set_level(spdlog::level::debug);
  } else if (level == "info") {
    Logger().set_level(spdlog::level::info);
  } else if (level == "warning") {
    Logger().set_level(spdlog::level::warn);
  } else if (level == "error") {
    Logger().set_level(spdlog::level::err);
  } else {
    return false;
  }
  return true;
}

void Log(LogLevel level, std::string_view message) {
  switch (level) {
    case LogLevel::kDebug:
      Logger().debug("{}", message);
      break;
    case LogLevel::kInfo:
      Logger().info("{}", message);
      break;
    case LogLevel::kWarning:
      Logger().warn("{}", message);
      break;
    case LogLevel::kError:
      Logger().error("{}", message);
      break;
  }
}

}  // namespace sightline
