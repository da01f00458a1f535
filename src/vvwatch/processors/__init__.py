"""Who reads media. Each processor has a folder of its own; what several need stands in `media`.

`media` reads untrusted files, in confined processes:

    isolation         one confined process per item: pipes, limits from outside, nothing left behind
    child             that process: limits from inside, one request, one answer
    decoders          which of FFmpeg's decoders may be used
    opening           which formats and streams are accepted, and what the container says
    structure         what the bytes promise about their own end, read without FFmpeg
    survey            the one pass over all packets, and what is damaged
    tracks            one decoded stream each: filters, series, counts of trouble
    measurements      what the series say about a stretch of time
    asking            what the child is asked, and what its answers and its failures mean
    cutting           where media is cut, and the pictures and sounds of segments as files
    planning          in the child: a survey told as a plan of cuts
    extracting        in the child: the files of one segment after the other
    places            in the child: the packets of one track, in order and with leaps
    picking           in the child: single pictures, found by decoding as little as possible
    rendering         in the child: a picture as displayed, as a JPEG
    mosaics           in the child: photographs of tiles, put together
    listening         in the child: the sound of a stretch of time
    sample_clips      small media made on the spot, for the demo and the tests

`sandbox` is what that process shuts itself in with before it reads a byte; schemas of strangers are tried in it too:

    landlock          no path, by the kernel's rules for files
    seccomp           few system calls, by a filter
    system_calls      which these are
    trial             a process that enters it and tries to get out, for `doctor`

Only the child and `sample_clips` load FFmpeg; the daemon never does.

`segmenting` is how processors that ask about each segment go through an item: cut, extract, ask, the whole.

`technical` measures with FFmpeg alone and needs no model and no service:

    processor         what may be asked of it, what its answers and its failures mean
    report            segments, metadata and sentences
    prompt            the fixed prompt, with the schemas that the results obey

`command` asks a program of the user's, by the protocol `exec/1`:

    processor         a program that is asked once for an item, and cuts it as it likes
    segments          a program that is asked about each segment, and about the whole
    asking            one question: stored before it is asked, told apart by how it ended
    protocol          what a program is told, and what its exit status and its answer mean
    running           one run of a program, bounded from outside
    workers           programs that live on and answer line by line
    leftovers, guard  what a program leaves running, and what a killed daemon does

`videovector` lets a hosted VideoVector, or another vvwatch, do the work:

    processor         what may be asked of it, and what it costs
    delegation        one item there: import, prompt, estimate, run, results; each step noted
    imports           getting the item there, and the media that are made of it
    results, found    what was found there, as segments of the whole item
    prompts           our prompts there
    state             what is noted of an item, and its idempotency keys
    service           what all items share: the terms, and the waiting
    upstream          the SDK, one method for each call
    transport         the HTTP client below the SDK: bounded, and read in threads
    refusals          what went wrong, as errors of ours

`validation` holds answers against the schema of the prompt, `processes` starts and ends processes.
"""
