"""A web page to animate without a terminal, on Gradio (extra `app`), and live animation of a camera.

`models`, `jobs`, `animate_job`, `live` and `limits` know nothing of Gradio; `page` and the modules `*_tab` build the
page of them, and `server` runs it. `webcam` is `fomm webcam`, without a browser.
"""
