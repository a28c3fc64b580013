#include "workers/shared_rows.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/bytes.h"

namespace sightline {
namespace {

// More scopes than this do not keep their files: each is made again for the next question.
constexpr size_t kScopesMax = 16;

void Put(ByteWriter& out, const std::optional<double>& value) {
  out.Varint(value ? 1 : 0);
  uint64_t bits = 0;
  if (value) std::memcpy(&bits, &*value, sizeof bits);
  if (value) out.Fixed64(bits);
}
std::optional<double> GetDouble(ByteReader& in) {
  if (in.Varint() == 0) return std::nullopt;
  const uint64_t bits = in.Fixed64();
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void Put(ByteWriter& out, const SourcePartition& source, Offset first, Offset next) {
  out.String(source.source);
  out.Signed(source.partition);
  out.Signed(first.v);
  out.Signed(next.v);
}
void GetSource(ByteReader& in, SourcePartition& source, Offset& first, Offset& next) {
  source.source = std::string(in.String());
  source.partition = static_cast<int32_t>(in.Signed());
  first = {in.Signed()};
  next = {in.Signed()};
}

void PutRow(ByteWriter& out, const CountIncrement& row) {
  for (const int64_t value : {row.location.v, row.window.start.v, row.window.end.v, row.count,
                              row.first_detected.v, row.last_detected.v})
    out.Signed(value);
  out.String(row.item);
  out.Varint(static_cast<uint64_t>(row.kind));
  Put(out, row.source, row.first, row.next);
}
void GetRow(ByteReader& in, CountIncrement& row) {
  for (int64_t* value : {&row.location.v, &row.window.start.v, &row.window.end.v, &row.count,
                         &row.first_detected.v, &row.last_detected.v})
    *value = in.Signed();
  row.item = std::string(in.String());
  row.kind = static_cast<CountKind>(in.Varint());
  GetSource(in, row.source, row.first, row.next);
}

void PutRow(ByteWriter& out, const LedgerIncrement& row) {
  const LedgerKey& key = row.row.key;
  out.Varint(key.known ? 1 : 0);
  for (const int64_t value : {key.location.v, key.camera.v, key.hour.v}) out.Signed(value);
  row.row.ledger.Encode(out);
  Put(out, row.source, row.first, row.next);
}
void GetRow(ByteReader& in, LedgerIncrement& row) {
  LedgerKey& key = row.row.key;
  key.known = in.Varint() != 0;
  for (int64_t* value : {&key.location.v, &key.camera.v, &key.hour.v}) *value = in.Signed();
  if (Result<Ledger> ledger = Ledger::Decode(in); ledger.ok()) row.row.ledger = ledger.value();
  GetSource(in, row.source, row.first, row.next);
}

void PutRow(ByteWriter& out, const Location& row) {
  out.Signed(row.location.v);
  out.String(row.name);
  Put(out, row.latitude);
  Put(out, row.longitude);
  out.String(row.time_zone);
  out.Varint(row.parent ? 1 : 0);
  if (row.parent) out.Signed(row.parent->v);
}
void GetRow(ByteReader& in, Location& row) {
  row.location = {in.Signed()};
  row.name = std::string(in.String());
  row.latitude = GetDouble(in);
  row.longitude = GetDouble(in);
  row.time_zone = std::string(in.String());
  if (in.Varint() != 0) row.parent = LocationId{in.Signed()};
}

Result<SharedFile> Seal(const std::string& bytes) {
  auto file =
      std::make_shared<const File>(memfd_create("sightline-rows", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file->ok()) return SystemError(errno, "create", "rows in memory");
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t count = write(file->fd(), bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno != EINTR) return SystemError(errno, "write", "rows in memory");
    if (count > 0) written += static_cast<size_t>(count);
  }
  if (fcntl(file->fd(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return SystemError(errno, "seal", "rows in memory");
  return file;
}

// The bytes of a file in memory.
class Mapping {
 public:
  explicit Mapping(const File& file) {
    struct stat about {};
    if (fstat(file.fd(), &about) != 0 || about.st_size == 0) return;
    bytes_ = static_cast<size_t>(about.st_size);
    void* const memory = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
    if (memory != MAP_FAILED) memory_ = memory;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
  }
  std::string_view bytes() const {
    return memory_ == nullptr ? std::string_view()
                              : std::string_view(static_cast<const char*>(memory_), bytes_);
  }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

template <typename RowType>
Result<std::vector<RowType>> ReadRows(const File& file) {
  const Mapping mapping(file);
  ByteReader in(mapping.bytes());
  std::vector<RowType> rows;
  while (in.ok() && in.remaining() > 0) GetRow(in, rows.emplace_back());
  if (!in.done()) return Status::Stop("the pending rows are malformed");
  return rows;
}

class SharedPart final : public PendingPart {
 public:
  SharedPart(SharedFile counts, SharedFile ledger)
      : counts_(std::move(counts)), ledger_(std::move(ledger)) {}
  Result<std::vector<CountIncrement>> Counts() const override {
    if (counts_ == nullptr) return std::vector<CountIncrement>();
    return ReadRows<CountIncrement>(*counts_);
  }
  Result<std::vector<LedgerIncrement>> Ledger() const override {
    if (ledger_ == nullptr) return std::vector<LedgerIncrement>();
    return ReadRows<LedgerIncrement>(*ledger_);
  }
  std::string Reference() const override { return {}; }  // it is in another process already

 private:
  const SharedFile counts_, ledger_;
};

}  // namespace

template <typename RowType>
Result<SharedFile> SharedRows::Get(MadeByScope<RowType>& made,
                                   const std::shared_ptr<const std::vector<RowType>>& rows,
                                   const Scope& scope) {
  {
    const std::lock_guard lock(mutex_);
    const auto known = made.find(scope);
    if (known != made.end() && known->second.rows == rows) return known->second.file;
  }
  ByteWriter encoded;
  if (rows != nullptr) {
    for (const RowType& row : *rows)
      if (Sees(scope, row)) PutRow(encoded, row);
  }
  Result<SharedFile> file = Seal(encoded.bytes());
  if (!file.ok()) return file;
  const std::lock_guard lock(mutex_);
  if (made.size() < kScopesMax || made.contains(scope)) made[scope] = {rows, file.value()};
  return file;
}

Result<SharedFile> SharedRows::Counts(const LakeState& state, const Scope& scope) {
  return Get(counts_, state.pending_counts, scope);
}
Result<SharedFile> SharedRows::Ledger(const LakeState& state, const Scope& scope) {
  return Get(ledger_, state.pending_ledger, scope);
}
Result<SharedFile> SharedRows::Locations(const LakeState& state, const Scope& scope) {
  return Get(locations_, state.locations, scope);
}

std::shared_ptr<const PendingPart> SharedCounts(SharedFile file) {
  return std::make_shared<SharedPart>(std::move(file), nullptr);
}
std::shared_ptr<const PendingPart> SharedLedger(SharedFile file) {
  return std::make_shared<SharedPart>(nullptr, std::move(file));
}
Result<std::vector<Location>> ReadLocations(const File& file) { return ReadRows<Location>(file); }

}  // namespace sightline
