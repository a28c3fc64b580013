// Log: the only place that uses spdlog. Log state changes, count events, and log nothing per row.
//
// Lines go to stderr. Thread-safe.
#pragma once

#include <string_view>

namespace sightline {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Call it once, from main(). `level` is debug, info, warning or error; any other value returns
// false.
bool SetLogLevel(std::string_view level);

void Log(LogLevel level, std::string_view message);
inline void LogInfo(std::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogWarning(std::string_view message) { Log(LogLevel::kWarning, message); }
inline void LogError(std::string_view message) { Log(LogLevel::kError, message); }

}  // namespace sightline
