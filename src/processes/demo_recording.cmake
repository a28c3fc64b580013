# The recording of `up --demo` becomes part of the program, so that a copied binary shows it, too.
enable_language(ASM)
set(recording "${PROJECT_SOURCE_DIR}/data/pedestrians.ndjson")
set(packed "${CMAKE_CURRENT_BINARY_DIR}/pedestrians.ndjson.gz")
add_custom_command(OUTPUT "${packed}" DEPENDS "${recording}"
                   COMMAND gzip -9 -n -c "${recording}" > "${packed}" VERBATIM)
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/demo_recording.S" @ONLY CONTENT
"    .section .rodata
    .globl sightline_demo_recording, sightline_demo_recording_end
sightline_demo_recording: .incbin \"@packed@\"
sightline_demo_recording_end: .byte 0
    .section .note.GNU-stack, \"\", %progbits
")
set_source_files_properties("${CMAKE_CURRENT_BINARY_DIR}/demo_recording.S"
                            PROPERTIES OBJECT_DEPENDS "${packed}")
target_sources(room_processes PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/demo_recording.S")
