# RdKafka::rdkafka (static) from .deps/librdkafka, where tools/deps.sh builds it.
find_path(RdKafka_INCLUDE_DIR librdkafka/rdkafka.h
          PATHS "${PROJECT_SOURCE_DIR}/.deps/librdkafka/include" NO_DEFAULT_PATH)
find_library(RdKafka_LIBRARY NAMES librdkafka.a
             PATHS "${PROJECT_SOURCE_DIR}/.deps/librdkafka/lib" NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RdKafka
  REQUIRED_VARS RdKafka_LIBRARY RdKafka_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run tools/deps.sh")

if(RdKafka_FOUND AND NOT TARGET RdKafka::rdkafka)
  find_package(OpenSSL REQUIRED)
  add_library(RdKafka::rdkafka STATIC IMPORTED)
  set_target_properties(RdKafka::rdkafka PROPERTIES
    IMPORTED_LOCATION "${RdKafka_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${RdKafka_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "OpenSSL::SSL;OpenSSL::Crypto;PkgConfig::ZSTD;ZLIB::ZLIB;Threads::Threads;${CMAKE_DL_LIBS};m")
endif()
