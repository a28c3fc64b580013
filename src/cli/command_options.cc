#include "cli/command_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sightline {

WantedOptions BeginningWith(std::vector<std::string_view> prefixes) {
  return [prefixes = std::move(prefixes)](std::string_view key) {
    return std::ranges::any_of(prefixes,
                               [key](std::string_view prefix) { return key.starts_with(prefix); });
  };
}

void AddOptions(CLI::App& to, const std::vector<Option>& table,
                std::map<std::string, std::string>& given, const WantedOptions& wanted) {
  for (const Option& option : table) {
    if (option.section || !wanted(option.key)) continue;  // only the file has sections
    const bool brokers = option.key == "kafka.brokers";
    const std::string value = option.get();
    to.add_option((brokers ? "--kafka,--" : "--") + option.key, given[option.key],
                  fmt::format("{} [{}]", option.help, value.empty() ? "none" : value))
        ->type_name(option.unit);
  }
}

Status ApplyLogLevel(const Settings& options) {
  if (SetLogLevel(options.log_level)) return Status::Ok();
  return Status::Stop(
      fmt::format("log_level '{}' is not one of debug, info, warning, error", options.log_level));
}

Status CheckListen(const Settings& options) {
  const Result<ListenAddress> listen = ParseListen(options.listen);
  if (!listen.ok()) return listen.status();
  if (listen.value().is_loopback || options.insecure) return Status::Ok();
  return Status::Stop(fmt::format(
      "'{}' can be reached from other machines, and there is no access control yet: listen on "
      "127.0.0.1 (and put a proxy in front), or add --insecure if that is what you want",
      options.listen));
}

}  // namespace sightline
