#include "processes/demo.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string_view>

#include "camera/camera.h"

// The bytes that demo_recording.cmake takes into the program.
extern "C" const char sightline_demo_recording[], sightline_demo_recording_end[];

namespace sightline {
namespace {

Result<std::string> Write(const std::string& folder, std::string_view name,
                          std::string_view content) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const std::string path = (std::filesystem::path(folder) / name).string();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  if (!file.flush()) return Status::Stop(fmt::format("cannot write '{}'", path));
  return path;
}

}  // namespace

Result<std::string> WriteDemoLocations(const std::string& folder) {
  return Write(folder, "locations.csv",
               Simulator(SimulatorOptions{}, CameraOptions{}.seed).LocationsCsv());
}

Result<std::string> WriteDemoRecording(const std::string& folder) {
  return Write(folder, "pedestrians.ndjson.gz",
               {sightline_demo_recording, sightline_demo_recording_end});
}

}  // namespace sightline
