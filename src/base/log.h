// Log: the one door to spdlog. State changes are logged, events are counted; nothing per row.
//
// Lines go to stderr. Thread-safe.
#pragma once

#include <string_view>

namespace sightline {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Call once from main(). `level` is one of debug, info, warning, error; false if it is none.
bool SetLogLevel(std::string_view level);

void Log(LogLevel level, std::string_view message);
inline void LogInfo(std::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogWarning(std::string_view message) { Log(LogLevel::kWarning, message); }
inline void LogError(std::string_view message) { Log(LogLevel::kError, message); }

}  // namespace sightline
