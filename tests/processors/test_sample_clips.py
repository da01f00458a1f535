"""The demo's clips are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processors.conftest import Technical
from vvwatch.processors.media.sample_clips import make_demo_clips

pytestmark = pytest.mark.anyio


async def test_the_demo_shows_each_kind_and_one_that_is_cut_short(
    technical: Technical, tmp_path: Path
) -> None:
    video, sound, picture, cut = make_demo_clips(tmp_path)

    clip = await technical.process(video)
    assert [segment.start_time for segment in clip.segments] == pytest.approx([0, 3, 6, 9], abs=0.1)
    assert clip.metadata["counts"]["silences"] == 1
    assert [s.start_time for s in (await technical.process(sound)).segments] == pytest.approx(
        [0, 3.75, 7.5], abs=0.1
    )
    assert (await technical.probe(picture)).media_type == "image"
    assert (await technical.probe(cut)).damage[0].startswith("truncated: mp4 box 'mdat'")
