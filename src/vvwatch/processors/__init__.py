"""Processors read media. Each has its own folder; `media` holds what several share.

`media` reads untrusted files, in confined processes:

    isolation         one confined process per item: pipes, outer limits, cleanup
    child             that process: inner limits, one request, one answer
    forking           its fork from a warm process: started, asked and replaced
    template          that warm process: decoders loaded, no media read
    decoders          the FFmpeg decoders that are allowed
    opening           the accepted formats and streams, and the container's metadata
    structure         the end that a file's own bytes declare, read without FFmpeg
    survey            the one pass over all packets, and the damage found
    tracks            one decoded stream each: filters, series, error counts
    measurements      values for a stretch of time, from the series
    asking            requests to the child, and the meaning of its answers and failures
    cutting           where media is cut, and the pictures and sound of segments as files
    planning          in the child: a survey as a plan of cuts
    extracting        in the child: the files of one segment after the other
    places            in the child: the packets of one track, in order, with seeks
    picking           in the child: single pictures, found with little decoding
    rendering         in the child: a picture as displayed, as a JPEG
    mosaics           in the child: photographs made of tiles
    listening         in the child: the sound of a stretch of time
    sample_clips      small generated media for the demo and the tests

`sandbox` confines that process before it reads a byte; users' schemas are tried in it too:

    landlock          kernel rules that deny all paths
    seccomp           a filter that allows few system calls
    system_calls      the list of those calls
    trial             a process that enters it and tries to get out, for `doctor`

Only the child and `sample_clips` load FFmpeg; the daemon never does.

`segmenting` runs processors that ask about each segment: cut, extract, ask, then ask about the whole.

`technical` measures with FFmpeg alone and needs no model and no service:

    processor         its requests, answers and failures
    report            segments, metadata and sentences
    early             results of small pictures, measured at the probe and kept for the run
    prompt            the fixed prompt, with the schemas that the results obey

`command` asks a user's program by the protocol `exec/1`:

    processor         a program that is asked once for an item and cuts it itself
    segments          a program that is asked about each segment and about the whole
    asking            one question: stored before it is asked, and classified by how it ended
    protocol          the request, and the meaning of the exit status and the answer
    running           one bounded run of a program
    workers           long-lived programs that answer line by line
    leftovers, guard  cleanup after a program, and after a killed daemon

`videovector` delegates the work to a hosted VideoVector or another vvwatch:

    processor         the requests it accepts, and its costs
    delegation        one item there: import, prompt, estimate, run, results; each step recorded
    imports           the import of an item, and the media made of it
    results, found    the upstream's results as segments of the whole item
    prompts           our prompts there
    state             the recorded state of an item, and its idempotency keys
    service           what all items share: terms and waiting
    upstream          the SDK, one method for each call
    transport         the HTTP client below the SDK: bounded, read in threads
    refusals          the upstream's errors as ours

`validation` checks answers against the prompt's schema, `processes` starts and ends processes, `cloning` forks them.
"""
